// The shape of a plan (product, "Plans"), and the steps in it.
import * as z from 'zod/mini';
import { type Refusal, refuse } from '../qrexec/door.ts';
import { SERVICES } from '../services/registry.ts';
import type { Service } from '../services/service.ts';

export const MAX_STEPS = 32;

export const SHAPE = refuse(`calls must be a list of 1 to ${MAX_STEPS} objects with a service and a request`);
const UNKNOWN_STEP = refuse('not found');

const plan = z.object({
  calls: z
    .array(z.object({ service: z.string().check(z.maxLength(64)), request: z.optional(z.looseObject({})) }))
    .check(z.minLength(1), z.maxLength(MAX_STEPS)),
});

/** A service that waits for events cannot be a step: it has no end of its own. */
const NO_STEP: ReadonlySet<string> = new Set(['qmcp.AIManagedEvents']);

export interface Step {
  readonly service: Service;
  readonly json: unknown;
}

/** The steps, each of a known service that may be one; plans are not services, so none nests. */
export const parsePlan = (json: unknown): readonly Step[] | Refusal => {
  const parsed = plan.safeParse(json);
  if (!parsed.success) return SHAPE;
  const steps: Step[] = [];
  for (const { service: name, request } of parsed.data.calls) {
    const service = NO_STEP.has(name) ? undefined : SERVICES.get(name);
    if (!service) return UNKNOWN_STEP;
    steps.push({ service, json: request ?? {} });
  }
  return steps;
};

const waiting = z.object({ wait: z._default(z.boolean(), true) });

/** Whether a Commit waits for the end; null for a request of another shape. */
export const parseCommit = (json: unknown): boolean | null => {
  const parsed = waiting.safeParse(json);
  return parsed.success ? parsed.data.wait : null;
};
