import { Refusal } from '../system-error.ts'

/**
 * An unsigned number as the kernel reads it from an attribute: decimal, octal or hexadecimal, a line end behind it at most.
 *
 * @throws Refusal EINVAL for anything else, ERANGE if it is more than `max`
 */
export function parseUnsigned(text: string, max: number): number {
  const match = /^\+?(0x[0-9a-f]+|\d+)\n?$/i.exec(text)
  if (match?.[1] === undefined) throw new Refusal('EINVAL')
  const digits = match[1]
  const octal = /^0\d/.test(digits)
  if (octal && /[89]/.test(digits)) throw new Refusal('EINVAL')
  const value = octal ? Number.parseInt(digits, 8) : Number(digits)
  if (value > max) throw new Refusal('ERANGE')
  return value
}

/** A yes or no as the kernel reads it. @throws Refusal EINVAL */
export function parseYesNo(text: string): boolean {
  const word = text.trim().toLowerCase()
  if (/^(?:1|y|t|on)/.test(word)) return true
  if (/^(?:0|n|f|of)/.test(word)) return false
  throw new Refusal('EINVAL')
}

/** A written line without its end. */
export function line(text: string): string {
  return text.endsWith('\n') ? text.slice(0, -1) : text
}
