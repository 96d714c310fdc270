// The first bytes of a call: the header qrexec writes and the body that the caller does.
import assert from 'node:assert/strict';
import { isQubeName } from '../../../daemon/names.ts';
import { MAX_DEPTH, parseBody, parseHeader } from '../../../daemon/qrexec/frame.ts';
import { PRINTABLE, plain } from '../target.ts';

const DOM0 = ['keyword adminvm', 'keyword default', 'name dom0', 'name uuid:00000000-0000-0000-0000-000000000000'];

export const frameTarget = plain(
  {
    name: 'frame',
    what: 'header and body of a call: a header that is taken can be written again only as it came, JSON only so deep',
    words: ['keyword adminvm\0', 'name dom0\0', 'qmcp.', 'mcp-control ', '+', ...DOM0],
    seeds: [
      'qmcp.ListAIManagedQubes+ mcp-control keyword adminvm\0',
      'qmcp.LifecycleAIManaged+ mcp-control keyword adminvm\0{"name":"ai-work","action":"start"}',
      'qmcp.Commit+0123456789abcdef mcp-control name dom0\0{"wait":false}',
      'qmcp.X+a.b_c-d+e a keyword default\0[[[{"a":["\\u0000\\\\\\"",1e309,-0,"[["]}]]]',
      `qmcp.X+ a name uuid:00000000-0000-0000-0000-000000000000\0${'['.repeat(MAX_DEPTH)}${']'.repeat(MAX_DEPTH)}`,
    ],
  },
  (input) => {
    const end = input.indexOf(0);
    const bytes = end < 0 ? input : input.subarray(0, end);
    const header = parseHeader(bytes);
    if (header) {
      assert.match(header.service, /^qmcp\.[A-Za-z0-9_.-]+$/);
      assert.match(header.argument, PRINTABLE);
      assert.ok(isQubeName(header.source));
      const again = DOM0.map((dom0) => `${header.service}+${header.argument} ${header.source} ${dom0}`);
      assert.ok(again.includes(bytes.toString('latin1')), 'a header can be written again as it came');
    }
    checkBody(end < 0 ? input : input.subarray(end + 1));
  },
);

const checkBody = (bytes: Buffer): void => {
  const body = parseBody(bytes);
  let expected: { json: unknown } | null;
  try {
    expected = { json: JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)) };
  } catch {
    expected = null;
  }
  if (bytes.length === 0) assert.deepEqual(body, { json: {} });
  else if (body) {
    assert.ok(expected, 'what is no JSON is not taken for some');
    assert.ok(depthOf(body.json) <= MAX_DEPTH);
    assert.equal(JSON.stringify(body.json), JSON.stringify(expected.json));
  } else if (expected) assert.ok(depthOf(expected.json) > MAX_DEPTH, 'JSON of permitted depth is taken');
};

/** How deep arrays and objects nest, without recursion: it is asked of what may nest by the thousand. */
const depthOf = (json: unknown): number => {
  let deepest = 0;
  const rest: [unknown, number][] = [[json, 0]];
  for (let next = rest.pop(); next; next = rest.pop()) {
    const [value, depth] = next;
    if (typeof value !== 'object' || value === null) continue;
    deepest = Math.max(deepest, depth + 1);
    for (const inner of Object.values(value)) rest.push([inner, depth + 1]);
  }
  return deepest;
};
