declare const provides: unique symbol

/**
 * Names a dependency and carries its type. Two tokens with the same name are the same token, also when this package is
 * loaded twice, so names are to be qualified: `agent.journal`.
 */
export type Token<T> = symbol & { readonly [provides]: T }

/** Makes the token of a name. */
export function token<T>(name: string): Token<T> {
  return Symbol.for(`cni-offload/${name}`) as Token<T>
}

/** The name that a token was made with. */
export function tokenName(of: Token<unknown>): string {
  return (of.description ?? '').replace(/^cni-offload\//, '')
}
