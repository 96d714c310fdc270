import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  allowsAll,
  MAX_RULE_LENGTH,
  parseRule,
  parseRules,
  type Rule,
  ruleLine,
  ruleWords,
} from '../../daemon/services/firewall-rule.ts';

describe('a rule is taken', () => {
  test.each([
    ['action=accept', 'action=accept', 'Allow all traffic'],
    ['action=drop', 'action=drop', 'Block all traffic'],
    [
      'action=accept dsthost=example.com proto=tcp dstports=443-443',
      'action=accept dsthost=example.com proto=tcp dstports=443-443',
      'Allow tcp to example.com, port 443',
    ],
    [
      'dstports=80-90 proto=udp action=drop',
      'action=drop proto=udp dstports=80-90',
      'Block udp to everywhere, ports 80 to 90',
    ],
    [
      'action=accept proto=tcp dstports=22',
      'action=accept proto=tcp dstports=22-22',
      'Allow tcp to everywhere, port 22',
    ],
    ['action=accept dst4=10.0.0.0/8', 'action=accept dst4=10.0.0.0/8', 'Allow all traffic to 10.0.0.0/8'],
    ['action=drop dst6=fe80::/10', 'action=drop dst6=fe80::/10', 'Block all traffic to fe80::/10'],
    ['action=accept dsthost=1.1.1.1', 'action=accept dsthost=1.1.1.1', 'Allow all traffic to 1.1.1.1'],
    ['action=accept specialtarget=dns', 'action=accept specialtarget=dns', 'Allow name look-ups to everywhere'],
    ['action=accept proto=icmp icmptype=8', 'action=accept proto=icmp icmptype=8', 'Allow icmp to everywhere, type 8'],
    [
      'action=accept expire=1893456000',
      'action=accept expire=1893456000',
      'Allow all traffic, until 2030-01-01 00:00 UTC',
    ],
    ['action=accept comment=press yes action=drop', 'action=accept', 'Allow all traffic'],
  ])('%s', (line, normal, words) => {
    const rule = parseRule(line) as Rule;
    expect(ruleLine(rule)).toBe(normal);
    expect(ruleWords(rule)).toBe(words);
  });
});

describe('a rule is refused that has', () => {
  test.each([
    ['nothing in it', ''],
    ['no action', 'proto=tcp'],
    ['another action', 'action=forward'],
    ['an action twice', 'action=accept action=drop'],
    ['an unknown key', 'action=accept src4=10.0.0.1'],
    ['no value', 'action=accept proto='],
    ['two spaces', 'action=accept  proto=tcp'],
    ['a newline', 'action=accept\naction=drop'],
    ['a NUL', 'action=accept\0'],
    ['two destinations', 'action=accept dst4=1.1.1.1 dst6=::1'],
    ['a host in capitals', 'action=accept dsthost=Example.com'],
    ['a host with look-alikes', 'action=accept dsthost=ex\u0430mple.com'],
    ['a host that ends in a dot', 'action=accept dsthost=example.com.'],
    ['a host with a part that begins with a hyphen', 'action=accept dsthost=a.-b.com'],
    ['a host that is too long', `action=accept dsthost=${'a.'.repeat(50)}com`],
    ['an address with a name', 'action=accept dst4=example.com'],
    ['an address out of range', 'action=accept dst4=256.0.0.1'],
    ['an address with a zone', 'action=accept dst6=fe80::1%eth0'],
    ['a prefix out of range', 'action=accept dst4=10.0.0.0/33'],
    ['two prefixes', 'action=accept dst4=10.0.0.0/8/8'],
    ['ports without a protocol', 'action=accept dstports=80'],
    ['ports of icmp', 'action=accept proto=icmp dstports=80'],
    ['a port out of range', 'action=accept proto=tcp dstports=65536'],
    ['ports the wrong way round', 'action=accept proto=tcp dstports=90-80'],
    ['a port with a sign', 'action=accept proto=tcp dstports=+80'],
    ['an icmp type of tcp', 'action=accept proto=tcp icmptype=8'],
    ['an icmp type out of range', 'action=accept proto=icmp icmptype=256'],
    ['another special target', 'action=accept specialtarget=everything'],
    ['an expiry that is no number', 'action=accept expire=tomorrow'],
    ['too many characters', `action=accept comment=${'x'.repeat(MAX_RULE_LENGTH)}`],
  ])('%s', (_, line) => expect(parseRule(line)).toBeNull());

  test('any text at all, without throwing, and what is taken is in the grammar', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.string().map((text) => `action=accept dsthost=${text}`),
        ),
        (line) => {
          const rule = parseRule(line);
          if (rule) expect(ruleLine(rule)).toMatch(/^[a-z0-9=./: -]+$/);
        },
      ),
    );
  });
});

test('a rule put into its order and parsed again is the same rule', () => {
  const rule = fc
    .record({
      action: fc.constantFrom('accept', 'drop'),
      destination: fc.constantFrom('', ' dsthost=a.example', ' dst4=10.1.2.3/32', ' dst6=::1'),
      proto: fc.constantFrom('', ' proto=tcp dstports=1-65535', ' proto=udp', ' proto=icmp icmptype=0'),
      special: fc.constantFrom('', ' specialtarget=dns'),
    })
    .map(({ action, destination, proto, special }) => `action=${action}${special}${proto}${destination}`);
  fc.assert(
    fc.property(rule, (line) => {
      const once = parseRule(line) as Rule;
      expect(parseRule(ruleLine(once))).toEqual(once);
    }),
  );
});

test.each([
  ['action=accept', true],
  ['action=drop', false],
  ['action=drop\naction=accept', false],
  ['action=drop dst4=10.0.0.0/8\naction=accept', true],
  ['action=accept dst4=0.0.0.0/0\naction=drop', true],
  ['action=accept proto=tcp\naction=drop', false],
  ['', false],
])('whether %j allows all traffic: %s', (listing, expected) => {
  expect(allowsAll(parseRules(listing) ?? [])).toBe(expected);
});
