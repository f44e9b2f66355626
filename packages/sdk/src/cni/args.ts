/**
 * Parses CNI_ARGS, `K=V;K=V`.
 *
 * Lenient on purpose: containers must not fail to start over an argument that is for somebody else. Unknown keys are
 * kept, pieces without a key are skipped, a value may hold further "=", and of equal keys the last one counts.
 */
export function parseCniArgs(text: string): Readonly<Record<string, string>> {
  const pairs = text.split(';').flatMap((piece): [string, string][] => {
    const equals = piece.indexOf('=')
    return equals <= 0 ? [] : [[piece.slice(0, equals), piece.slice(equals + 1)]]
  })
  return Object.fromEntries(pairs)
}
