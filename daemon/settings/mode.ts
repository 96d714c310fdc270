// The mode in two places (product, "The ladder"; R14): the file tier-default says it to the broker, the include qmcp-mode says
// it to qrexec. `qmcpctl mode` writes both; while they differ the stricter holds, and is reported. Pure.
import type { Source } from './files.ts';
import { contentLines } from './lines.ts';
import type { Complaint, PolicyMode } from './settings.ts';

/** The include that names the mode, below the policy directory. */
export const POLICY_MODE_FILE = 'include/qmcp-mode';

/** The policy's include as it was found, with its path for the operator. */
export interface PolicySource {
  readonly path: string;
  readonly source: Source;
}

const STATED: ReadonlyMap<string, PolicyMode> = new Map([
  ['!include include/qmcp-compat', 'compat'],
  ['!include include/qmcp-least-privilege', 'least-privilege'],
]);
const TIER_DEFAULT = { compat: 'full', 'least-privilege': 'ro' } as const;

/** What both places together mean. A policy that says nothing leaves the file to decide, as in an install without ours. */
export function agreedMode(
  tierDefault: 'full' | 'ro',
  policy: PolicySource | null,
): {
  readonly policyMode: PolicyMode;
  readonly tierDefault: 'full' | 'ro';
  readonly complaints: readonly Complaint[];
} {
  const policyMode = policy === null ? 'absent' : statedBy(policy.source);
  const asFile = { policyMode, tierDefault, complaints: [] };
  if (policy === null || policyMode === 'absent') return asFile;
  // Unknown means no: what cannot be told could be the stricter mode.
  if (policyMode === 'unknown') return { policyMode, tierDefault: 'ro', complaints: [unclear(policy, tierDefault)] };
  if (TIER_DEFAULT[policyMode] === tierDefault) return asFile;
  return { policyMode, tierDefault: 'ro', complaints: [disagreement(policy.path, policyMode)] };
}

function statedBy(source: Source): PolicyMode {
  if (source.kind === 'absent') return 'absent';
  if (source.kind === 'unreadable') return 'unknown';
  const [only, second] = contentLines(source.text);
  if (only === undefined || second !== undefined) return 'unknown';
  return STATED.get(only.text.replace(/[ \t]+/g, ' ')) ?? 'unknown';
}

const unclear = ({ path, source }: PolicySource, tierDefault: 'full' | 'ro'): Complaint => {
  const wrong =
    source.kind === 'unreadable' ? `it ${source.why}` : 'it is not one of the two lines that qmcpctl writes';
  const mode = tierDefault === 'full' ? 'compat' : 'least-privilege';
  return {
    file: path,
    line: null,
    sentence: `The policy's mode cannot be told: ${wrong}. Until it can, managed qubes without a tier tag can only be read (ro). Run qmcpctl mode ${mode}, which writes both.`,
  };
};

const disagreement = (path: string, policyMode: 'compat' | 'least-privilege'): Complaint => ({
  file: 'tier-default',
  line: null,
  sentence:
    policyMode === 'compat'
      ? `It stands for ro, but ${path} is in mode compat, so agents still run programs in managed qubes without a tier. Run qmcpctl mode least-privilege, or qmcpctl mode compat to open both.`
      : `It stands for full, as it does when absent, but ${path} is in mode least-privilege. Until they agree, managed qubes without a tier tag can only be read (ro). Run qmcpctl mode least-privilege, or qmcpctl mode compat to open both.`,
});
