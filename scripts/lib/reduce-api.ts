/** A node of a document. */
type Node = Readonly<Record<string, unknown>>

/** What is left of a description: each operation with all that it refers to, without prose. */
export interface ReducedApi {
  readonly operations: Readonly<Record<string, ReducedOperation>>
  /** Schemas that are referred to, in the draft of JSON Schema that Swagger 2.0 is a part of. */
  readonly definitions: Readonly<Record<string, unknown>>
}

/** One operation. */
export interface ReducedOperation {
  /** What varies besides the body. */
  readonly parameters: readonly unknown[]
  /** Schema of the body, if one is taken. */
  readonly request?: unknown
  /** What errors call the body. */
  readonly requestName?: unknown
  /** Whether the body has to be there. */
  readonly requestRequired?: boolean
  /** Schema of the body of each answer, null for none. */
  readonly answers: Readonly<Record<string, unknown>>
}

/** Says nothing about what is valid; the formats are those of Go, not of JSON Schema. */
const PROSE = new Set(['description', 'summary', 'example', 'default', 'format', 'readOnly', 'tags', 'deprecated'])

/**
 * The part of a Swagger 2.0 document that describes certain operations.
 *
 * @param operations - method and path, `GET /config`
 * @throws Error if one of them is not in the document
 */
export function reduceApi(document: unknown, operations: readonly string[]): ReducedApi {
  const { paths, parameters, definitions } = document as Record<'paths' | 'parameters' | 'definitions', Record<string, Node>>
  const reduced = Object.fromEntries(
    operations.map((name) => {
      const [method = '', path = ''] = name.split(' ')
      const operation = paths[path]?.[method.toLowerCase()]
      if (operation === undefined) throw new Error(`the document has no operation ${name}`)
      return [name, reduceOperation(operation as Node, parameters)]
    }),
  )
  return { operations: reduced, definitions: closure(reduced, definitions) }
}

function reduceOperation(operation: Node, shared: Readonly<Record<string, Node>>): ReducedOperation {
  const parameters = ((operation['parameters'] ?? []) as Node[]).map((parameter) => {
    const name = typeof parameter['$ref'] === 'string' ? parameter['$ref'].replace('#/parameters/', '') : undefined
    return (name === undefined ? parameter : shared[name]) as Node
  })
  const body = parameters.find((parameter) => parameter['in'] === 'body')
  const answers = Object.entries(operation['responses'] as Record<string, Node>)
  return {
    parameters: parameters.filter((parameter) => parameter !== body).map((parameter) => schemaOf(parameter)),
    ...(body === undefined
      ? {}
      : { request: schemaOf(body['schema']), requestName: body['name'], requestRequired: body['required'] === true }),
    answers: Object.fromEntries(answers.map(([status, answer]) => [status, schemaOf(answer['schema'] ?? null)])),
  }
}

/** Without prose; what may be null says so as JSON Schema does. */
function schemaOf(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(schemaOf)
  if (typeof node !== 'object' || node === null) return node
  const entries = Object.entries(node).filter(([key, value]) => !key.startsWith('x-') && !(PROSE.has(key) && !isSchema(value)))
  // To the code that is generated from it, an object without members is whatever comes.
  const anything = entries.length === 1 && entries[0]?.[0] === 'type' && entries[0][1] === 'object'
  const schema = anything ? {} : Object.fromEntries(entries.map(([key, value]) => [key, schemaOf(value)]))
  return (node as Node)['x-nullable'] === true ? { anyOf: [schema, { type: 'null' }] } : schema
}

/** A member of an object may have the name of a keyword. */
const isSchema = (value: unknown): boolean => typeof value === 'object' && value !== null && !Array.isArray(value)

/** All definitions that something refers to, directly or not. */
function closure(root: unknown, all: Readonly<Record<string, Node>>): Record<string, unknown> {
  const found: Record<string, unknown> = {}
  const follow = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return
    for (const [key, value] of Object.entries(node)) {
      const name = key === '$ref' ? String(value).replace('#/definitions/', '') : undefined
      if (name === undefined) follow(value)
      else if (!Object.hasOwn(found, name)) {
        found[name] = schemaOf(all[name])
        follow(found[name])
      }
    }
  }
  follow(root)
  return Object.fromEntries(Object.entries(found).toSorted(([a], [b]) => (a < b ? -1 : 1)))
}
