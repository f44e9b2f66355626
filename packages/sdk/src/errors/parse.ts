import type { z } from 'zod'
import type { ErrorCode } from './codes.ts'
import { OffloadError } from './offload-error.ts'

/** Values that JSON cannot print (too deep, cyclic, bigint) must not replace the message by an error of their own. */
const printed = (value: unknown): string => {
  try {
    return JSON.stringify(value) ?? String(value)
  } catch {
    return typeof value === 'bigint' ? String(value) : '(a value that cannot be shown)'
  }
}

const shown = (value: unknown): string => {
  const text = printed(value)
  return text.length > 120 ? `${text.slice(0, 117)}…` : text
}

const valueAt = (root: unknown, path: readonly PropertyKey[]): unknown =>
  path.reduce<unknown>((at, key) => (typeof at === 'object' && at !== null ? (at as Record<PropertyKey, unknown>)[key] : undefined), root)

/**
 * Parses outside input with a zod schema; this is the border where `unknown` becomes a trusted type.
 *
 * @param schema - what the input must look like
 * @param input - the decoded but untrusted value
 * @param what - how the input is called in the message: "netconf", "agent.yaml", "AttachRequest"
 * @param code - the error code of a mismatch
 * @throws OffloadError with `code`; the message names each field, its value and what was expected
 */
export function parseWith<S extends z.ZodType>(schema: S, input: unknown, what: string, code: ErrorCode): z.output<S> {
  const parsed = schema.safeParse(input)
  if (parsed.success) return parsed.data
  const problems = parsed.error.issues.slice(0, 5).map((issue) => {
    const path = issue.path.map(String).join('.')
    const value = valueAt(input, issue.path)
    return `${path === '' ? 'the whole' : path}${value === undefined ? ' is missing' : ` = ${shown(value)}`}: ${issue.message}`
  })
  throw new OffloadError(code, `${what}: ${problems.join('; ')}`)
}
