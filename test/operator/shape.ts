// The notation in which --help says what --json prints (help.ts, NOTATION), read back, so that output can be held against it.

type Shape =
  | { readonly kind: 'number' | 'bool' | 'text' | 'null' }
  | { readonly kind: 'literal'; readonly text: string }
  | { readonly kind: 'list'; readonly of: Shape }
  | { readonly kind: 'object'; readonly fields: ReadonlyMap<string, Shape>; readonly more: boolean }
  | { readonly kind: 'either'; readonly of: readonly Shape[] };

const TOKEN = /\s*("[^"]*"|\.\.\.|[[\]{}:,]|[a-z]+)/y;

/** Throws where the text is not in the notation. */
export const parseShape = (text: string): Shape => {
  const tokens: string[] = [];
  TOKEN.lastIndex = 0;
  for (let at = 0; text.slice(at).trim() !== ''; at = TOKEN.lastIndex) {
    const [, token] = TOKEN.exec(text) ?? [];
    if (token === undefined) throw new Error(`no shape from here on: ${text.slice(at)}`);
    tokens.push(token);
  }
  const take = (wanted?: string): string => {
    const token = tokens.shift();
    if (token === undefined || (wanted !== undefined && token !== wanted)) {
      throw new Error(`${wanted ?? 'something'} instead of ${token} before ${tokens.join(' ')}`);
    }
    return token;
  };

  const either = (): Shape => {
    const of = [one()];
    while (tokens[0] === 'or') {
      take('or');
      of.push(one());
    }
    return of.length === 1 ? (of[0] as Shape) : { kind: 'either', of };
  };
  const one = (): Shape => {
    const token = take();
    if (token === '{') return object();
    if (token === '[') {
      const of = either();
      take(']');
      return { kind: 'list', of };
    }
    if (token.startsWith('"')) return { kind: 'literal', text: token.slice(1, -1) };
    if (!/^[a-z]+$/.test(token)) throw new Error(`no shape begins with ${token}`);
    return { kind: token === 'n' ? 'number' : token === 'bool' ? 'bool' : token === 'null' ? 'null' : 'text' };
  };
  const object = (): Shape => {
    const fields = new Map<string, Shape>();
    let more = false;
    for (;;) {
      const token = take();
      if (token === '...') more = true;
      else {
        const name = token.slice(1, -1);
        if (tokens[0] === ':') take(':');
        else tokens.unshift('text');
        fields.set(name, either());
      }
      if (take() === '}') return { kind: 'object', fields, more };
    }
  };

  const shape = either();
  if (tokens.length > 0) throw new Error(`left over: ${tokens.join(' ')}`);
  return shape;
};

/** Where the value is not of the shape, and how; empty where it is. */
export const misfits = (value: unknown, shape: Shape, at = ''): string[] => {
  const wrong = (what: string): string[] => [`${at || 'all of it'} is ${JSON.stringify(value)}, not ${what}`];
  switch (shape.kind) {
    case 'number':
      return typeof value === 'number' ? [] : wrong('a number');
    case 'bool':
      return typeof value === 'boolean' ? [] : wrong('true or false');
    case 'text':
      return typeof value === 'string' ? [] : wrong('a text');
    case 'null':
      return value === null ? [] : wrong('null');
    case 'literal':
      return value === shape.text ? [] : wrong(shape.text);
    case 'either': {
      const tries = shape.of.map((each) => misfits(value, each, at));
      return tries.some((found) => found.length === 0)
        ? []
        : (tries.find(([first]) => first?.includes('.')) ?? tries[0] ?? []);
    }
    case 'list':
      return Array.isArray(value)
        ? value.flatMap((each, index) => misfits(each, shape.of, `${at}[${index}]`))
        : wrong('a list');
    case 'object': {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) return wrong('an object');
      const fields = value as Record<string, unknown>;
      const surplus = shape.more ? [] : Object.keys(fields).filter((name) => !shape.fields.has(name));
      return [
        ...surplus.map((name) => `${at}.${name} is not documented`),
        ...[...shape.fields].flatMap(([name, of]) =>
          Object.hasOwn(fields, name) ? misfits(fields[name], of, `${at}.${name}`) : [`${at}.${name} is missing`],
        ),
      ];
    }
  }
};
