/** Something that was decoded from JSON. */
export type Fields = Readonly<Record<string, unknown>>

// What comes from outside is looked at by hand here: a library of schemas takes longer to load than the plugin to run.

/** An object; one that is missing has no fields. @throws Error if it is something else */
export function fieldsOf(value: unknown, what: string): Fields {
  if (value === undefined || value === null) return {}
  if (typeof value !== 'object' || Array.isArray(value)) throw new Error(`${what} is not an object`)
  return value as Fields
}

/** An object in a field. @throws Error if it is something else */
export function objectIn(fields: Fields, name: string): Fields {
  return fieldsOf(fields[name], name)
}

/** A text in a field, empty if it is missing. @throws Error if it is something else */
export function textIn(fields: Fields, name: string): string {
  const value = fields[name] ?? ''
  if (typeof value !== 'string') throw new Error(`${name} = ${JSON.stringify(value)} is not a text`)
  return value
}

/** A number in a field, 0 if it is missing. @throws Error if it is something else */
export function numberIn(fields: Fields, name: string): number {
  const value = fields[name] ?? 0
  if (typeof value !== 'number') throw new Error(`${name} = ${JSON.stringify(value)} is not a number`)
  return value
}

/** A flag in a field, false if it is missing. @throws Error if it is something else */
export function flagIn(fields: Fields, name: string): boolean {
  const value = fields[name] ?? false
  if (typeof value !== 'boolean') throw new Error(`${name} = ${JSON.stringify(value)} is neither true nor false`)
  return value
}

/** A list of objects in a field, empty if it is missing. @throws Error if it is something else */
export function listIn(fields: Fields, name: string): readonly Fields[] {
  const value = fields[name] ?? []
  if (!Array.isArray(value)) throw new Error(`${name} is not a list`)
  return value.map((one: unknown) => fieldsOf(one, name))
}
