// What is normal, for each kind of question in one sentence of ours: shown when a caller has it asked for the first time, so
// that a person who never saw one has something to hold it against.
import type { Acquaintance } from './acquaintance.ts';
import type { View } from './question.ts';

/** What kind of question it is: what the operator learns to know, whichever qubes it is about. */
export interface Kind {
  readonly source: string;
  readonly principal: string;
  readonly service: string;
  /** The action, or the property where the action is to set one. */
  readonly what: string;
}

/** A longer question gets none, in which every row may be needed to fit the screen. */
export const MAX_LINES_WITH_HINT = 10;

interface Asked {
  readonly source: string;
  readonly principal: string;
  readonly service: string;
  readonly action: string;
  readonly args: Readonly<Record<string, unknown>>;
}

/** The kind of the question that this call raises. */
export const kindOf = ({ source, principal, service, action, args }: Asked): Kind => ({
  source,
  principal,
  service,
  what: service === SET_PROPERTY && typeof args.property === 'string' ? args.property : action,
});

/** The view with the hint as its last line; the view as it is where there is none for its kind, or no room. */
export const withHint = (view: View, { service, what }: Kind): View => {
  const normal = NORMAL.get(service)?.get(what);
  if (normal === undefined || view.lines.length > MAX_LINES_WITH_HINT) return view;
  return { ...view, lines: [...view.lines, `First time this agent asks this. Normal: ${normal}`] };
};

/** The view as it is asked of who is met like this: with the hint where it is the first question of its kind. */
export const asMet = (view: View, asked: Asked, acquaintance: Acquaintance | undefined): View => {
  const kind = kindOf(asked);
  return acquaintance?.isFirst(kind) ? withHint(view, kind) : view;
};

const SET_PROPERTY = 'qmcp.SetPropertyAIManaged';

/** Service -> action or property -> the rest of the sentence. */
export const NORMAL: ReadonlyMap<string, ReadonlyMap<string, string>> = new Map(
  Object.entries({
    'qmcp.LifecycleAIManaged': {
      start: 'a qube is started when there is work for it.',
      shutdown: 'a qube is shut down when its work is done.',
      pause: 'seldom, to have it do nothing for a while.',
      unpause: 'it follows a pause.',
      kill: 'seldom, for one that no shutdown ends.',
      remove: 'a qube that agents made and are done with.',
    },
    [SET_PROPERTY]: {
      label: 'seldom, as the colours are yours.',
      memory: 'a little more for heavy work, then back.',
      maxmem: 'a little more for heavy work, then back.',
      vcpus: 'a few more for heavy work, then back.',
      netvm: 'a qube that needs no network loses it.',
      template: 'hardly ever, as a qube keeps its template.',
      default_dispvm: 'once, to a disposable template of agents.',
    },
    'qmcp.SetFeatureAIManaged': {
      'set-feature': 'once, after a program was installed in it.',
    },
    'qmcp.SetFirewallAIManaged': { 'set-firewall': 'a few hosts by name, and nothing else.' },
    'qmcp.SpawnAIManagedQube': { spawn: 'one task, and a name that says which.' },
    'qmcp.SpawnDisposableAIManaged': { 'spawn-disposable': 'one, for something that leaves no trace.' },
    'qmcp.CloneAIManagedQube': { clone: 'a copy of a qube of agents, to try something.' },
    'qmcp.AttachDeviceAIManaged': { attach: 'a device that you plugged in for this.' },
    'qmcp.DetachDeviceAIManaged': { detach: 'the task that it was attached for is done.' },
    'qmcp.Commit': { commit: 'its steps are one task that you know of.' },
  }).map(([service, sentences]) => [service, new Map(Object.entries(sentences))]),
);
