// Firewall rules in the Admin API's grammar (admin.vm.firewall.Get and Set; qubes.firewall of core-admin): parsed strictly,
// put into one order, and said in words. Pure.
import { isIPv4, isIPv6 } from 'node:net';

/** One rule. What is absent matches everything. */
export interface Rule {
  readonly action: 'accept' | 'drop';
  readonly destination: { readonly kind: 'dsthost' | 'dst4' | 'dst6'; readonly value: string } | null;
  readonly proto: 'tcp' | 'udp' | 'icmp' | null;
  readonly ports: { readonly from: number; readonly to: number } | null;
  readonly icmpType: number | null;
  readonly specialTarget: 'dns' | null;
  /** Seconds since 1970, after which it does not match any more. */
  readonly expire: number | null;
}

export const MAX_RULES = 64;
export const MAX_RULE_LENGTH = 256;
const MAX_HOST_LENGTH = 100;

// Letters, digits and hyphens in parts joined by dots (RFC 1123); at least one letter, or it would be an address.
const HOST = /^(?=[^/]*[a-z])[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/;
const NUMBER = /^(?:0|[1-9][0-9]{0,10})$/;
const KEYS = new Set(['action', 'dsthost', 'dst4', 'dst6', 'proto', 'dstports', 'icmptype', 'specialtarget', 'expire']);

/** The rule in one line of `key=value` words, or null for anything the platform would not take or that says a thing twice. */
export const parseRule = (line: string): Rule | null => {
  if (line.length > MAX_RULE_LENGTH) return null;
  // A comment runs to the end of the line. It is nobody's business but the one who wrote it, and goes no further.
  const words = line.replace(/(?:^| )comment=.*$/, '').split(' ');
  const fields = new Map<string, string>();
  for (const word of words) {
    const at = word.indexOf('=');
    const key = word.slice(0, at);
    if (at < 1 || !KEYS.has(key) || fields.has(key)) return null;
    fields.set(key, word.slice(at + 1));
  }
  return ruleOf(fields);
};

const ruleOf = (fields: ReadonlyMap<string, string>): Rule | null => {
  const action = fields.get('action');
  const proto = fields.get('proto') ?? null;
  const special = fields.get('specialtarget') ?? null;
  const destination = destinationOf(fields);
  const ports = portsOf(fields.get('dstports'));
  const icmpType = numberOf(fields.get('icmptype'), 255);
  const expire = numberOf(fields.get('expire'), 99_999_999_999);
  if (action !== 'accept' && action !== 'drop') return null;
  if (proto !== null && proto !== 'tcp' && proto !== 'udp' && proto !== 'icmp') return null;
  if (special !== null && special !== 'dns') return null;
  if (destination === undefined || ports === undefined || icmpType === undefined || expire === undefined) return null;
  // Ports belong to TCP and UDP, types to ICMP (qubes.firewall.Rule checks the same).
  if (ports && proto !== 'tcp' && proto !== 'udp') return null;
  if (icmpType !== null && proto !== 'icmp') return null;
  return { action, destination, proto, ports, icmpType, specialTarget: special, expire };
};

/** undefined for what is malformed, here and below. */
const destinationOf = (fields: ReadonlyMap<string, string>): Rule['destination'] | undefined => {
  const given = (['dsthost', 'dst4', 'dst6'] as const).filter((kind) => fields.has(kind));
  const [kind] = given;
  if (!kind) return null;
  const value = fields.get(kind) ?? '';
  if (given.length > 1) return undefined;
  const isValid =
    kind === 'dst4'
      ? isNetwork(value, 4)
      : kind === 'dst6'
        ? isNetwork(value, 6)
        : isHost(value) || isNetwork(value, 4) || isNetwork(value, 6);
  return isValid ? { kind, value } : undefined;
};

const isHost = (value: string): boolean => value.length <= MAX_HOST_LENGTH && HOST.test(value);

const isNetwork = (value: string, family: 4 | 6): boolean => {
  const [address = '', prefix, ...more] = value.split('/');
  if (more.length > 0 || address.includes('%')) return false;
  if (!(family === 4 ? isIPv4(address) : isIPv6(address))) return false;
  return prefix === undefined || (NUMBER.test(prefix) && Number(prefix) <= (family === 4 ? 32 : 128));
};

const portsOf = (value: string | undefined): Rule['ports'] | undefined => {
  if (value === undefined) return null;
  const [from = '', to = from, ...more] = value.split('-');
  if (more.length > 0 || !NUMBER.test(from) || !NUMBER.test(to)) return undefined;
  return Number(from) <= Number(to) && Number(to) <= 65_535 ? { from: Number(from), to: Number(to) } : undefined;
};

const numberOf = (value: string | undefined, most: number): number | null | undefined => {
  if (value === undefined) return null;
  return NUMBER.test(value) && Number(value) <= most ? Number(value) : undefined;
};

/** The rule as one line for the Admin API, always in the same order: equal rules give equal lines. */
export const ruleLine = ({ action, destination, proto, ports, icmpType, specialTarget, expire }: Rule): string =>
  [
    `action=${action}`,
    destination && `${destination.kind}=${destination.value}`,
    proto && `proto=${proto}`,
    ports && `dstports=${ports.from}-${ports.to}`,
    icmpType !== null && `icmptype=${icmpType}`,
    specialTarget && `specialtarget=${specialTarget}`,
    expire !== null && `expire=${expire}`,
  ]
    .filter(Boolean)
    .join(' ');

/** The rules of a listing by admin.vm.firewall.Get; null where one of them is none that we know. */
export const parseRules = (listing: string): Rule[] | null => {
  const rules = listing.split('\n').filter(Boolean).map(parseRule);
  return rules.every((rule) => rule !== null) ? rules : null;
};

/** `Allow tcp to example.com, port 443`. Only words of ours and what passed the grammar above. */
export const ruleWords = ({ action, destination, proto, ports, icmpType, specialTarget, expire }: Rule): string => {
  const verb = action === 'accept' ? 'Allow' : 'Block';
  const what = specialTarget === 'dns' ? 'name look-ups' : (proto ?? 'all traffic');
  const where = destination ? ` to ${destination.value}` : specialTarget || proto ? ' to everywhere' : '';
  const port = ports && (ports.from === ports.to ? `, port ${ports.from}` : `, ports ${ports.from} to ${ports.to}`);
  const type = icmpType === null ? '' : `, type ${icmpType}`;
  const until =
    expire === null ? '' : `, until ${new Date(expire * 1000).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
  return `${verb} ${what}${where}${port ?? ''}${type}${until}`;
};

/** Whether a list lets everything through that no earlier rule blocks: the first rule that matches all decides. */
export const allowsAll = (rules: readonly Rule[]): boolean => rules.find(matchesAll)?.action === 'accept';

const matchesAll = ({ destination, proto, specialTarget, ports }: Rule): boolean =>
  (!destination || destination.value.endsWith('/0')) && !proto && !specialTarget && !ports;
