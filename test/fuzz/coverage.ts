// Which branches an input reaches. There is no Jazzer.js here: its package holds ready-made binaries and no source to build
// them from. So modules are instrumented as they are loaded: TypeScript's own compiler puts a counter at the beginning of
// every function, branch and loop, which costs next to nothing per input.
import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const MAX_PLACES = 65_536;
const COUNTER = '__reached';
/** Whose branches count: the broker, and the policy evaluator, which is test code that decides about the policy. */
const COUNTED = /\/(?:daemon|test\/policy)\/.*\.ts$/;

const reached = new Uint8Array(MAX_PLACES);
const literals = new Set<string>();
let places = 0;

/** From now on modules are loaded with counters. */
export const instrument = (): void => {
  Object.assign(globalThis, { [COUNTER]: reached });
  registerHooks({
    load: (url, context, nextLoad) => {
      if (!url.startsWith('file:') || !COUNTED.test(url)) return nextLoad(url, context);
      const source = withCounters(readFileSync(fileURLToPath(url), 'utf8'), url);
      return { format: 'module', source, shortCircuit: true };
    },
  });
};

/** The strings that stand in the instrumented source: what a parser may be waiting for. */
export const literalsSeen = (): string[] => [...literals];

export const placesKnown = (): number => places;

/** What all inputs so far have reached, by place and by how often: once, twice, a few times, often. */
export class Reached {
  readonly #seen = new Uint8Array(MAX_PLACES);

  /** Forgets what the last input reached. */
  begin(): void {
    reached.fill(0, 0, places);
  }

  /** Whether the last input reached something for the first time; from then on it is known. */
  isNew(): boolean {
    let isNew = false;
    for (let place = 0; place < places; place++) {
      const count = reached[place] as number;
      if (count === 0) continue;
      const bit = 1 << Math.min(7, Math.floor(Math.log2(count)));
      const seen = this.#seen[place] as number;
      if ((seen & bit) !== 0) continue;
      this.#seen[place] = seen | bit;
      isNew = true;
    }
    return isNew;
  }

  get places(): number {
    return this.#seen.reduce((sum, bits) => sum + (bits === 0 ? 0 : 1), 0);
  }
}

const withCounters = (source: string, url: string): string => {
  const { outputText } = ts.transpileModule(source, {
    fileName: url,
    compilerOptions: {
      target: ts.ScriptTarget.ES2023,
      module: ts.ModuleKind.ESNext,
      verbatimModuleSyntax: true,
    },
    transformers: { before: [counting] },
  });
  return outputText;
};

const counting: ts.TransformerFactory<ts.SourceFile> = (context) => (file) => {
  const { factory: f } = context;
  // A counter that overflows begins again at 0; that costs a rare repetition and no input is lost for good.
  const count = (): ts.Expression => {
    const at = f.createElementAccessExpression(f.createIdentifier(COUNTER), places % MAX_PLACES);
    places = Math.min(places + 1, MAX_PLACES);
    return f.createPostfixUnaryExpression(at, ts.SyntaxKind.PlusPlusToken);
  };
  const counted = (expression: ts.Expression): ts.Expression =>
    f.createParenthesizedExpression(f.createComma(count(), expression));
  const tick = (): ts.Statement => f.createExpressionStatement(count());

  const visit = (node: ts.Node): ts.Node => {
    if (ts.isTypeNode(node) || ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node)) return node;
    if (ts.isStringLiteralLike(node) && node.text.length > 0 && node.text.length <= 64) literals.add(node.text);
    const inner = ts.visitEachChild(node, visit, context);
    if (ts.isBlock(inner)) return f.updateBlock(inner, [tick(), ...inner.statements]);
    if (ts.isArrowFunction(inner) && !ts.isBlock(inner.body)) {
      const { modifiers, typeParameters, parameters, type, equalsGreaterThanToken, body } = inner;
      return f.updateArrowFunction(
        inner,
        modifiers,
        typeParameters,
        parameters,
        type,
        equalsGreaterThanToken,
        counted(body as ts.Expression),
      );
    }
    if (ts.isConditionalExpression(inner)) {
      const { condition, questionToken, whenTrue, colonToken, whenFalse } = inner;
      return f.updateConditionalExpression(
        inner,
        condition,
        questionToken,
        counted(whenTrue),
        colonToken,
        counted(whenFalse),
      );
    }
    if (ts.isBinaryExpression(inner) && BRANCHING.has(inner.operatorToken.kind)) {
      return f.updateBinaryExpression(inner, inner.left, inner.operatorToken, counted(inner.right));
    }
    if (ts.isIfStatement(inner)) {
      const then = f.createBlock([tick(), inner.thenStatement]);
      const otherwise = inner.elseStatement && f.createBlock([tick(), inner.elseStatement]);
      return f.updateIfStatement(inner, inner.expression, then, otherwise);
    }
    if (ts.isCaseClause(inner)) return f.updateCaseClause(inner, inner.expression, [tick(), ...inner.statements]);
    if (ts.isDefaultClause(inner)) return f.updateDefaultClause(inner, [tick(), ...inner.statements]);
    return inner;
  };
  return ts.visitEachChild(file, visit, context);
};

const BRANCHING: ReadonlySet<ts.SyntaxKind> = new Set([
  ts.SyntaxKind.AmpersandAmpersandToken,
  ts.SyntaxKind.BarBarToken,
  ts.SyntaxKind.QuestionQuestionToken,
]);
