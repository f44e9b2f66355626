import { z } from 'zod'

/**
 * Schema of the section of a configuration file that changes limits: the names of the defaults, each a whole number from 1. Unknown
 * names are refused.
 *
 * @param zero - limits that may be 0, too: their documentation says what that means
 */
export function limitsSchema<T extends { readonly [Name in keyof T]: number }>(
  defaults: T,
  zero: readonly (keyof T & string)[],
): z.ZodType<Partial<T>> {
  const fields = Object.keys(defaults).map((name) => {
    const least = zero.some((candidate) => candidate === name) ? 0 : 1
    return [name, z.number(`a whole number from ${least}`).int().min(least).max(2_147_483_647).exactOptional()] as const
  })
  // The fields are those of the defaults, each optional.
  return z.strictObject(Object.fromEntries(fields)) as unknown as z.ZodType<Partial<T>>
}
