// The grammars of what callers and qubesd may name. A string from outside is `unknown` until one of these has passed it.

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

export type QubeName = Branded<'QubeName'>;
export type Uuid = Branded<'Uuid'>;
export type Tag = Branded<'Tag'>;
export type PropertyName = Branded<'PropertyName'>;
export type FeatureName = Branded<'FeatureName'>;
export type Nonce = Branded<'Nonce'>;
export type Digest = Branded<'Digest'>;

// qubes.vm.validate_name: a letter first, at most 31 characters.
const QUBE_NAME = /^[a-zA-Z][a-zA-Z0-9_.-]{0,30}$/;
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
// qubes.vm.Tags: the characters admin.vm.tag.Set accepts; the length is ours.
const TAG = /^[A-Za-z0-9_-]{1,128}$/;
// Python attribute names as qubesd uses them; the length is ours.
const PROPERTY_NAME = /^[a-z][a-z0-9_]{0,63}$/;
const FEATURE_NAME = /^[A-Za-z0-9_.-]{1,128}$/;
const NONCE = /^[0-9a-f]{64}$/;
const DIGEST = /^[0-9a-f]{64}$/;

const grammar =
  <T extends string>(pattern: RegExp) =>
  (text: unknown): text is T =>
    typeof text === 'string' && pattern.test(text);

/** Whether a value is a string in the named grammar. JavaScript's `$` without the m flag does not admit a final newline. */
export const isQubeName = grammar<QubeName>(QUBE_NAME);
export const isUuid = grammar<Uuid>(UUID);
export const isTag = grammar<Tag>(TAG);
export const isPropertyName = grammar<PropertyName>(PROPERTY_NAME);
export const isFeatureName = grammar<FeatureName>(FEATURE_NAME);
export const isNonce = grammar<Nonce>(NONCE);
export const isDigest = grammar<Digest>(DIGEST);
