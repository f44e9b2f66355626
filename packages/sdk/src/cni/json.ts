import { OffloadError } from '../errors/offload-error.ts'

/** A decoded JSON object. */
export type JsonObject = Readonly<Record<string, unknown>>

/**
 * Deeper values are refused: `JSON.parse` takes any depth, but what has to walk or print the value again is recursive
 * and would overflow the stack. Real configurations stay below 20.
 */
const MAX_NESTING = 1000

/** Nesting of a text that is known to be JSON. */
const nestingOf = (json: string): number => {
  let depth = 0
  let deepest = 0
  let inText = false
  for (let at = 0; at < json.length; at++) {
    const char = json[at]
    if (inText) {
      if (char === '\\') at++
      else if (char === '"') inText = false
    } else if (char === '"') inText = true
    else if (char === '{' || char === '[') deepest = Math.max(deepest, ++depth)
    else if (char === '}' || char === ']') depth--
  }
  return deepest
}

/** Whether a decoded value is an object, and not an array or null. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/**
 * Decodes a JSON object.
 *
 * @param what - how the text is called in the message
 * @throws OffloadError UNDECODABLE
 */
export function decodeJsonObject(text: string, what: string): JsonObject {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new OffloadError('UNDECODABLE', `${what}: ${text.trim() === '' ? 'is empty' : 'is not JSON'}`, { cause: error })
  }
  if (!isJsonObject(value)) throw new OffloadError('UNDECODABLE', `${what}: is not a JSON object`)
  if (text.length > 2 * MAX_NESTING && nestingOf(text) > MAX_NESTING)
    throw new OffloadError('UNDECODABLE', `${what}: is nested more than ${MAX_NESTING} deep`)
  return value
}
