// How a fleet is described to the simulated qubesd: the `fleet_spec` of a contract vector, or the file behind `--fleet`.

/** One qube. Everything is optional: klass AppVM, state Halted, the usual tags and volumes, nothing else set. */
export interface QubeSpec {
  readonly klass?: string;
  readonly state?: string;
  readonly tags?: readonly string[];
  /** Properties that are set (not default); null is an unset reference. */
  readonly props?: Readonly<Record<string, string | null>>;
  readonly features?: Readonly<Record<string, string>>;
  /** Sizes in bytes. */
  readonly volumes?: Readonly<Record<string, number>>;
  /** What is used of a volume, in bytes; 0 unless said. */
  readonly usage?: Readonly<Record<string, number>>;
  /** "<class>.<Available|Attached|Assigned>" to the lines that listing answers. */
  readonly devices?: Readonly<Record<string, readonly string[]>>;
  readonly firewall?: string;
  readonly uuid?: string;
}

/** `empty`: the connection closes without a byte. Otherwise a typed exception and its message. */
export type PlannedFailure = 'empty' | readonly [type: string, message: string];

/** Platform misbehaviours. */
export interface Hooks {
  /** Tags (or `*`) that tag.Set silently ignores. */
  readonly drop_tag?: readonly string[];
  /** Tags that tag.Remove silently keeps. */
  readonly sticky_tag?: readonly string[];
  /** property.Set+netvm succeeds without effect. */
  readonly netvm_ignored?: unknown;
  /** Kill and Shutdown succeed on a halted qube. */
  readonly kill_ok?: unknown;
  /** Tags that every new qube carries in addition. */
  readonly extra_birth_tags?: readonly string[];
  /** The name CreateDisposable gives; '' creates nothing and answers nothing. */
  readonly disp_name?: string;
  readonly disp_state?: string;
  readonly disp_netvm?: string | null;
  /** The lines of admin.vm.device.<class>.List, which otherwise aborts. */
  readonly legacy_list?: readonly string[];
}

export interface FleetSpec {
  readonly qubes: Readonly<Record<string, QubeSpec>>;
  readonly default_netvm?: string;
  /** The number of the next disposable. */
  readonly next_disp?: number;
  /** "method[+arg]@dest" (dest may be `*`) to what happens to every such call, or to every one after the first `skip`. */
  readonly fail?: Readonly<Record<string, PlannedFailure | { readonly skip?: number; readonly then: PlannedFailure }>>;
  readonly hooks?: Hooks;
}
