import { causeMessages, OffloadError } from '../errors/offload-error.ts'

/** What failed first, then what failed while it was being cleaned up after. */
const inOrder = (error: unknown): unknown[] =>
  error instanceof SuppressedError ? [...inOrder(error.suppressed), ...inOrder(error.error)] : [error]

/** The errors behind what a daemon ended with, the one that began it first. */
export function failures(error: unknown): OffloadError[] {
  return inOrder(error).map((one) => OffloadError.from(one))
}

/**
 * An error for a person who reads a terminal: message, causes, remedy, one line each. A cause that an earlier line quotes
 * already is left out.
 *
 * @param name - what failed, in front of the first line
 */
export function failureText(name: string, failure: OffloadError): string {
  const lines = [`${name}: ${failure.message}`]
  for (const cause of causeMessages(failure)) if (!lines.some((line) => line.includes(cause))) lines.push(`  because: ${cause}`)
  if (failure.hint !== undefined) lines.push(`  ${failure.hint}`)
  return `${lines.join('\n')}\n`
}
