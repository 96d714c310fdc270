/**
 * Man pages and bash completion of qmcpctl, made of the same definitions as its --help: dist/man/*.8 and
 * dist/completion/qmcpctl. The build writes them.
 */
import { SERVICES } from '../daemon/authority/tables.ts';
import type { Command, Definition, Option, Words } from '../daemon/operator/command.ts';
import { exitSentence, NOTATION, optionTerm, shapesOf } from '../daemon/operator/help.ts';
import { PLACES } from '../daemon/operator/places.ts';
import { SETTING_WORDS } from '../daemon/operator/settings-words.ts';
import { QMCPCTL } from '../daemon/operator/verbs.ts';
import { FILE_NAMES } from '../daemon/settings/files.ts';
import packageJson from '../package.json' with { type: 'json' };

const SECTION = 8;

/** Every page and the completion: file name below dist -> text. */
export const manual = (): ReadonlyMap<string, string> => new Map([...manPages(), ['completion/qmcpctl', completion()]]);

// ---- man pages

/** File name below dist -> roff. One page for each verb of the first level, and one for all. */
export const manPages = (): ReadonlyMap<string, string> => {
  const verbs = Object.entries(QMCPCTL.verbs ?? {});
  const pages = verbs.map(([name, command]) => [`man/qmcpctl-${name}.${SECTION}`, verbPage(name, command)] as const);
  return new Map([[`man/qmcpctl.${SECTION}`, overview(verbs)], ...pages]);
};

const overview = (verbs: readonly (readonly [string, Command])[]): string =>
  page('qmcpctl', QMCPCTL.summary, [
    ['SYNOPSIS', [bold('qmcpctl'), `${italic('VERB')} [${italic('OPTIONS')}]`].join(' ')],
    ['DESCRIPTION', text('What the operator does in a dom0 terminal. Each verb has a page of its own, and --help.')],
    ['VERBS', verbs.map(([name, { summary }]) => term(`${bold(`qmcpctl-${name}`)}(${SECTION})`, summary)).join('')],
    ['PLACES', `${text('Every verb takes these, and uses those that it needs:')}${options(PLACES)}`],
    [
      'SETTINGS',
      `${text('Files in /etc/qmcp, written by qmcpctl config and read by the daemon at every call:')}${FILE_NAMES.map(
        (name) => term(bold(name), `${SETTING_WORDS[name].what}; without the file: ${SETTING_WORDS[name].absent}`),
      ).join('')}`,
    ],
    ['JSON', text(`Verbs that print something take --json. ${NOTATION}`)],
    [
      'ENVIRONMENT',
      term(bold('NO_COLOR'), 'if set to anything but nothing, no colours are used; they are used on a terminal alone'),
    ],
    ['EXIT STATUS', exitStatus()],
    [
      'FILES',
      [
        term('/etc/qmcp', 'the settings; backups/ what they were before; principals/ who is enrolled'),
        term('/var/log/qmcp/audit.jsonl', 'the journal'),
        term('/run/qmcp/control.sock', 'where the daemon answers'),
      ].join(''),
    ],
  ]);

const exitStatus = (): string =>
  [term('0', 'done'), term('1', 'refused, or not well'), term('2', 'the arguments make no sense')].join('');

const verbPage = (name: string, command: Command): string => {
  const leaves = leavesOf(command);
  const [only] = leaves;
  const sections: [string, string][] =
    leaves.length === 1 && only
      ? sectionsOf(only)
      : [
          ['SYNOPSIS', leaves.map(synopsis).join('.br\n')],
          ['DESCRIPTION', text(`${sentenceCase(command.summary)}.`)],
          ...leaves.map((leaf): [string, string] => [
            leaf.name.replace(/^qmcpctl /, '').toUpperCase(),
            sectionsOf(leaf)
              .filter(([title]) => title !== 'SYNOPSIS')
              .map(([title, body]) => (title === 'DESCRIPTION' ? body : `.SS ${quoted(sentenceCase(title))}\n${body}`))
              .join(''),
          ]),
        ];
  const more: [string, string][] = [['SEE ALSO', `${bold('qmcpctl')}(${SECTION})\n`]];
  return page(`qmcpctl-${name}`, command.summary, [...sections, ...more]);
};

const leavesOf = ({ definition, verbs }: Command): Definition[] =>
  verbs === undefined ? (definition ? [definition] : []) : Object.values(verbs).flatMap(leavesOf);

const sectionsOf = (definition: Definition): [string, string][] => {
  const { about, options: own, examples, json, exits } = definition;
  return [
    ['SYNOPSIS', synopsis(definition)],
    ['DESCRIPTION', about.map(text).join('.PP\n')],
    ...(Object.keys(own).length > 0 ? [['OPTIONS', options(own)] as [string, string]] : []),
    [
      'EXAMPLES',
      examples.map(([command, does]) => `.PP\n.nf\n${escaped(command)}\n.fi\n.RS\n${text(does)}.RE\n`).join(''),
    ],
    ...(json === null ? [] : [['JSON', shapesOf(json).map(shapeText).join('.PP\n')] as [string, string]]),
    ...(exits === undefined ? [] : [['EXIT STATUS', text(exitSentence(exits))] as [string, string]]),
  ];
};

const shapeText = ({ when, shape }: { readonly when: string; readonly shape: string }): string =>
  `${when === '' ? '' : `${text(`${sentenceCase(when)}:`)}.br\n`}${text(shape)}`;

const synopsis = ({ name, operands }: Definition): string =>
  `${bold(name)} ${operands === '' ? '' : `${escaped(operands)} `}[${italic('OPTIONS')}]\n`;

const options = (of: Readonly<Record<string, Option>>): string =>
  Object.entries(of)
    .map(([long, option]) => term(bold(optionTerm(long, option)), option.text))
    .join('');

/** No date: the same sources make the same bytes. */
const page = (name: string, summary: string, sections: readonly (readonly [string, string])[]): string =>
  [
    `.TH ${quoted(name.toUpperCase())} ${SECTION} "" ${quoted(`qmcp-broker ${packageJson.version}`)} "qmcp-broker"\n`,
    // Neither hyphens nor stretched blanks: commands are copied from here.
    '.nh\n.ad l\n',
    `.SH NAME\n${escaped(name)} \\- ${escaped(summary)}\n`,
    ...sections.map(([title, body]) => `.SH ${quoted(title)}\n${body.endsWith('\n') ? body : `${body}\n`}`),
  ].join('');

const text = (plain: string): string => `${escaped(plain)}\n`;
const term = (label: string, plain: string): string =>
  `.TP\n${label.startsWith('\\f') ? label : escaped(label)}\n${escaped(plain)}\n`;
const bold = (plain: string): string => `\\fB${escaped(plain)}\\fR`;
const italic = (plain: string): string => `\\fI${escaped(plain)}\\fR`;
const quoted = (plain: string): string => `"${plain.replaceAll('"', '""')}"`;
const sentenceCase = (title: string): string =>
  title === 'JSON'
    ? title
    : title.charAt(0).toUpperCase() + (title === title.toUpperCase() ? title.slice(1).toLowerCase() : title.slice(1));

/** What roff would take for its own, and dashes that a reader may copy. */
const escaped = (plain: string): string =>
  plain
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^(?=[.'])/gm, '\\&');

// ---- completion

/** A bash script that completes verbs, options, and what their values can be. It needs nothing but bash. */
export const completion = (): string => {
  const cases = leaves(QMCPCTL, []).map(({ path, definition }) => leafCase(path, definition));
  const groups = groupsOf(QMCPCTL, []).map(
    ([path, verbs]) => `    '${path.join(' ')}') _qmcpctl_offer ${shellQuoted(verbs.join(' '))} ;;\n`,
  );
  return `# bash completion for qmcpctl. Made by packaging/manual.ts; the definitions are in daemon/operator.

_qmcpctl_offer() {
  mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur")
}

_qmcpctl_words() {
  case $1 in
    file) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    directory) mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
    qube) _qmcpctl_offer "$(qvm-ls --raw-list 2>/dev/null)" ;;
    principal) _qmcpctl_offer "$(cd /etc/qmcp/principals 2>/dev/null && ls | sed -n 's/\\.json$//p')" ;;
    service) _qmcpctl_offer ${shellQuoted([...SERVICES.keys()].join(' '))} ;;
    setting) _qmcpctl_offer ${shellQuoted(FILE_NAMES.join(' '))} ;;
    *) _qmcpctl_offer "$1" ;;
  esac
}

_qmcpctl() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]} verb= operands=0 word i
  COMPREPLY=()
  # The verb is the longest run of words from the first on that is one; what follows it are operands.
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    case $word in -*) continue ;; esac
    case "\${verb:+$verb }$word" in
${verbPaths(QMCPCTL, [])
  .map((path) => `      '${path.join(' ')}') verb=\${verb:+$verb }$word ;;\n`)
  .join('')}      *) operands=$((operands + 1)) ;;
    esac
  done
  case $prev in
${placeCases()}  esac
  case $verb in
${groups.join('')}${cases.join('')}  esac
}

complete -F _qmcpctl qmcpctl
`;
};

const leaves = (
  { definition, verbs }: Command,
  path: readonly string[],
): { path: readonly string[]; definition: Definition }[] =>
  verbs === undefined
    ? definition
      ? [{ path, definition }]
      : []
    : Object.entries(verbs).flatMap(([name, command]) => leaves(command, [...path, name]));

const groupsOf = ({ verbs }: Command, path: readonly string[]): [readonly string[], readonly string[]][] =>
  verbs === undefined
    ? []
    : [
        [path, Object.keys(verbs)],
        ...Object.entries(verbs).flatMap(([name, command]) => groupsOf(command, [...path, name])),
      ];

const verbPaths = ({ verbs }: Command, path: readonly string[]): string[][] =>
  Object.entries(verbs ?? {}).flatMap(([name, command]) => [[...path, name], ...verbPaths(command, [...path, name])]);

const placeCases = (): string =>
  Object.entries(PLACES)
    .map(([name, { words }]) => `    --${name}) _qmcpctl_words ${words}; return ;;\n`)
    .join('');

const leafCase = (path: readonly string[], { options: own, words = [] }: Definition): string => {
  const flags = [...Object.keys(own), 'help'].map((name) => `--${name}`);
  const values = Object.entries(own).flatMap(([name, { type, short, words: of }]) =>
    type === 'string'
      ? [`        --${name}${short ? ` | -${short}` : ''}) _qmcpctl_words ${shellQuoted(wordsText(of))}; return ;;\n`]
      : [],
  );
  const operands = words.map(
    (of, index) =>
      `        ${index === words.length - 1 ? '*' : index}) _qmcpctl_words ${shellQuoted(wordsText(of))} ;;\n`,
  );
  return [
    `    '${path.join(' ')}')\n`,
    values.length > 0 ? `      case $prev in\n${values.join('')}      esac\n` : '',
    `      case $cur in -*) _qmcpctl_offer ${shellQuoted(flags.join(' '))}; return ;; esac\n`,
    operands.length > 0 ? `      case $operands in\n${operands.join('')}      esac\n` : '',
    '      ;;\n',
  ].join('');
};

const wordsText = (words: Words | undefined): string => (typeof words === 'string' ? words : (words ?? []).join(' '));
const shellQuoted = (plain: string): string => `'${plain.replaceAll("'", "'\\''")}'`;
