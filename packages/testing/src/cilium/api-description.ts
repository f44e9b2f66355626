import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import type { CiliumOperation } from './api-model.ts'
import { type CiliumVersion, minorOf } from './version.ts'

/** What an operation takes and answers in one release. */
export interface OperationDescription {
  /** What varies besides the body. */
  readonly parameters: readonly ParameterDescription[]
  /** Body that is taken, if one is; members that the agent does not know are ignored by it. */
  readonly request?: z.ZodType
  /** What errors call the body. */
  readonly requestName: string
  /** As {@link request}, but without members that the agent does not know. */
  readonly knownRequest?: z.ZodType
  /** Body of each answer that is possible, without members that the agent does not have. */
  readonly answers: Readonly<Record<number, z.ZodType>>
}

/** All operations of one release. */
export type ApiDescription = Readonly<Record<CiliumOperation, OperationDescription>>

/** A part of a path, of a query, or a header. */
export interface ParameterDescription {
  /** Its name. */
  readonly name: string
  /** Where it stands. */
  readonly in: 'path' | 'query' | 'header'
  /** What it is. */
  readonly type: 'string' | 'boolean' | 'integer'
  /** Whether it must be there. */
  readonly required?: boolean | undefined
  /** All values that are possible. */
  readonly enum?: readonly string[] | undefined
}

type Schema = Readonly<Record<string, unknown>>

interface Document {
  readonly operations: Readonly<
    Record<
      string,
      {
        readonly parameters: readonly ParameterDescription[]
        readonly request?: Schema | undefined
        readonly requestName?: string | undefined
        readonly requestRequired?: boolean | undefined
        readonly answers: Readonly<Record<string, Schema | null>>
      }
    >
  >
  readonly definitions: Readonly<Record<string, Schema>>
}

const schema: z.ZodType<Schema> = z.record(z.string(), z.unknown())

const document: z.ZodType<Document> = z.object({
  operations: z.record(
    z.string(),
    z.object({
      parameters: z.array(
        z.object({
          name: z.string(),
          in: z.enum(['path', 'query', 'header']),
          type: z.enum(['string', 'boolean', 'integer']),
          required: z.boolean().optional(),
          enum: z.array(z.string()).optional(),
        }),
      ),
      request: schema.optional(),
      requestName: z.string().optional(),
      requestRequired: z.boolean().optional(),
      answers: z.record(z.string(), schema.nullable()),
    }),
  ),
  definitions: z.record(z.string(), schema),
})

const text = z.string()
const nothing = z.undefined()

/** The handlers write what went wrong as a JSON string, also with statuses for which the description has no body. */
const nothingOrText = z.union([nothing, text])

/**
 * What the sources of the agent answer besides: every operation can be disabled by the administrator, and an id that makes no
 * sense is told by 400 everywhere.
 */
function undeclared(operation: CiliumOperation, minor: number): Readonly<Record<number, z.ZodType>> {
  return {
    403: text,
    ...(operation.includes('/endpoint') ? { 400: text } : {}),
    // A node whose own addresses are not known yet.
    ...(operation === 'POST /ipam' && minor >= 19 ? { 500: text } : {}),
  }
}

/**
 * The operations of the agent's API as one release describes them in its `api/v1/openapi.yaml`, with what its sources answer
 * beyond that.
 *
 * @throws Error for a release whose description is not there
 */
export function describeApi(version: CiliumVersion): ApiDescription {
  const minor = minorOf(version)
  const file = fileURLToPath(new URL(`../../openapi/1.${minor}.json`, import.meta.url))
  const { operations, definitions } = document.parse(JSON.parse(readFileSync(file, 'utf8')))
  const known = mapValues(definitions, closed)
  const described = Object.entries(operations).map(([name, { parameters, request, requestName = 'body', requestRequired, answers }]) => {
    const optional = (body: z.ZodType): z.ZodType => (requestRequired === true ? body : body.optional())
    const description: OperationDescription = {
      parameters,
      requestName,
      ...(request === undefined
        ? {}
        : { request: optional(zodOf(request, definitions)), knownRequest: optional(zodOf(closed(request), known)) }),
      answers: {
        ...undeclared(name as CiliumOperation, minor),
        ...Object.fromEntries(Object.entries(answers).map(([status, body]) => [status, answerOf(Number(status), body, known)])),
      },
    }
    return [name, description]
  })
  return Object.fromEntries(described) as ApiDescription
}

/** What of a request the description does not know: members that an agent would pass over without a word. */
export function undescribed(
  description: ApiDescription,
  { operation, query, body }: { readonly operation: CiliumOperation; readonly query: URLSearchParams; readonly body: string },
): string[] {
  const { parameters, knownRequest = z.undefined() } = description[operation]
  const unknown = [...query.keys()].filter((name) => !parameters.some((known) => known.in === 'query' && known.name === name))
  const { error } = knownRequest.safeParse(body === '' ? undefined : JSON.parse(body))
  return [
    ...unknown.map((name) => `${operation} has no parameter ${name}`),
    ...(error?.issues ?? []).map(({ path, message }) => `${operation} ${path.join('.')}: ${message}`),
  ]
}

function answerOf(status: number, body: Schema | null, definitions: Readonly<Record<string, unknown>>): z.ZodType {
  if (body !== null) return zodOf(closed(body), definitions)
  return status < 400 ? nothing : nothingOrText
}

function zodOf(body: unknown, definitions: Readonly<Record<string, unknown>>): z.ZodType {
  return z.fromJSONSchema({ ...(body as Schema), definitions } as Parameters<typeof z.fromJSONSchema>[0], { defaultTarget: 'draft-7' })
}

/** The same schema without members that it does not name. */
function closed(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(closed)
  if (typeof node !== 'object' || node === null) return node
  const schemas = mapValues(node, (value, key) => (key === 'properties' ? mapValues(value as object, closed) : closed(value)))
  return 'properties' in node && !('additionalProperties' in node) ? { ...schemas, additionalProperties: false } : schemas
}

function mapValues(node: object, change: (value: unknown, key: string) => unknown): Record<string, unknown> {
  return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, change(value, key)]))
}
