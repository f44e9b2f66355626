import { rename, rm } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { ApiDescription, OperationDescription } from './api-description.ts'
import type { CiliumOperation } from './api-model.ts'
import { ApiFailure } from './api-failure.ts'
import type { FaultEffect } from './faults.ts'
import type { ApiAnswer, ApiCall } from './handlers.ts'

/** What a server asks for each request. */
export interface HttpHooks {
  /** What each operation takes and answers. */
  readonly description: ApiDescription
  /** Whether the administrator has disabled it. */
  readonly disabled: (operation: CiliumOperation) => boolean
  /** What goes wrong with it. */
  readonly fault: (operation: CiliumOperation) => FaultEffect | undefined
  /** Works on it. */
  readonly answer: (call: ApiCall) => Promise<ApiAnswer>
  /** Told of each answer that was given. */
  readonly served: (request: ServedRequest) => void
}

/** A request that was served. */
export interface ServedRequest {
  /** What was asked for. */
  readonly operation: CiliumOperation
  /** The part of the path that varies. */
  readonly argument: string
  /** Query. */
  readonly query: URLSearchParams
  /** Body as it came; empty if there was none. */
  readonly body: string
  /** Status of the answer; 0 if there was none. */
  readonly status: number
}

const BASE = '/v1'

/** Said by what stands before the handlers, and therefore not as JSON. */
const DISABLED = 'This API is administratively disabled. Contact your administrator for more details.'

/** HTTP over a unix socket, in the manner of the agent: JSON bodies, errors as JSON strings. */
export class ApiServer {
  readonly #socket: string
  readonly #hooks: HttpHooks
  #server: Server | undefined

  constructor(socket: string, hooks: HttpHooks) {
    this.#socket = socket
    this.#hooks = hooks
  }

  /** Listens, in place of whatever an earlier server has left. */
  async start(): Promise<void> {
    const server = createServer((request, response) => {
      this.#serve(request, response).catch((error: unknown) => {
        if (!response.headersSent) response.writeHead(500, { 'content-type': 'application/json' })
        response.end(JSON.stringify(error instanceof Error ? error.message : String(error)))
      })
    })
    // The name under which it is bound is unlinked when it is closed; the socket of an agent that dies stays.
    const temporary = `${this.#socket}.new`
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(temporary, resolve)
    })
    await rename(temporary, this.#socket)
    this.#server = server
  }

  /** Cuts all connections. @param leaveSocket - whether the file of the socket stays, as after a crash */
  async stop(leaveSocket: boolean): Promise<void> {
    const server = this.#server
    this.#server = undefined
    if (server !== undefined) {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      server.closeAllConnections()
      await closed
    }
    if (!leaveSocket) await rm(this.#socket, { force: true })
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://localhost')
    const route = this.#route(request.method ?? '', url.pathname)
    if (route === undefined) return write(response, { status: 404, body: { code: 404, message: `path ${url.pathname} was not found` } })
    const { operation, argument } = route
    const body = await bodyOf(request)
    const served = (status: number): void => this.#hooks.served({ operation, argument, query: url.searchParams, body, status })
    if (this.#hooks.disabled(operation)) {
      served(403)
      response.writeHead(403).end(DISABLED)
      return
    }
    const effect = this.#hooks.fault(operation)
    const finish = (answer: ApiAnswer): void => {
      served(answer.status)
      write(response, answer)
    }
    const cut = (): void => {
      served(0)
      request.socket.destroy()
    }
    if (effect?.kind === 'hang') return served(0)
    if (effect?.kind === 'cut' && effect.when === 'before') return cut()
    if (effect?.kind === 'answer') return finish(effect)
    const header = (name: string): string | undefined => request.headers[name]?.toString()
    const call = { operation, argument, query: url.searchParams, header, body: undefined }
    const answer = await this.#answer(call, body, header('content-type'))
    if (effect?.kind === 'cut') return cut()
    finish(effect?.kind === 'misreport' ? effect : answer)
  }

  async #answer(call: ApiCall, text: string, contentType: string | undefined): Promise<ApiAnswer> {
    const description = this.#hooks.description[call.operation]
    let body: unknown
    try {
      checkParameters(call, description)
      body = decode(description, text, contentType)
    } catch (error) {
      return refusalOf(error)
    }
    const answer = await this.#hooks.answer({ ...call, body }).catch(refusalOf)
    return checked(call.operation, description, answer)
  }

  #route(method: string, pathname: string): { readonly operation: CiliumOperation; readonly argument: string } | undefined {
    if (!pathname.startsWith(`${BASE}/`)) return undefined
    const [resource = '', argument, sub] = pathname.slice(BASE.length + 1).split('/')
    const pattern =
      argument === undefined ? resource : `${resource}/{${resource === 'ipam' ? 'ip' : 'id'}}${sub === undefined ? '' : `/${sub}`}`
    const operation = `${method} /${pattern}`
    const known = (name: string): name is CiliumOperation => Object.hasOwn(this.#hooks.description, name)
    return known(operation) ? { operation, argument: decodeURIComponent(argument ?? '') } : undefined
  }
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of request.setEncoding('utf8')) text += String(chunk)
  return text
}

function refusalOf(error: unknown): ApiAnswer {
  if (!(error instanceof ApiFailure)) throw error
  const { status, body } = error
  return body === null ? { status } : { status, body }
}

/** The framework of the real agent refuses what is not as described by itself, and not with a JSON string. */
function refused(status: number, message: string, code: number = status): ApiFailure {
  return new ApiFailure(status, message, { code, message })
}

function checkParameters({ query, header }: ApiCall, { parameters }: OperationDescription): void {
  for (const { name, in: place, enum: values } of parameters) {
    const value = place === 'query' ? query.get(name) : place === 'header' ? header(name) : undefined
    if (value === undefined || value === null || value === '') continue
    if (values !== undefined && !values.includes(value))
      throw refused(422, `${name} in ${place} should be one of [${values.join(' ')}]`, 606)
  }
}

function decode({ request, requestName }: OperationDescription, text: string, contentType: string | undefined): unknown {
  if (text !== '' && contentType !== 'application/json')
    throw refused(415, `unsupported media type "${contentType ?? 'application/octet-stream'}", only [application/json] are allowed`)
  if (request === undefined) return undefined
  let value: unknown
  try {
    value = text === '' ? undefined : withoutNulls(text)
  } catch (error) {
    throw refused(400, `parsing ${requestName} body from "" failed, because ${String(error)}`)
  }
  const { error, data } = request.safeParse(value, { reportInput: true })
  if (error === undefined) return data
  // The first thing that is wrong is told, and no other.
  const [issue] = error.issues
  const where = issue === undefined || issue.path.length === 0 ? requestName : issue.path.join('.')
  if (issue?.input === undefined) throw refused(422, `${where} in body is required`, 602)
  if (issue.code === 'invalid_value') throw refused(422, `${where} in body should be one of [${issue.values.join(' ')}]`, 606)
  throw refused(400, `parsing ${requestName} body from "" failed, because json: ${where}: ${issue.message}`)
}

/** To Go, what is null is not there, and a list that nobody has made is null. */
const withoutNulls = (text: string): unknown => JSON.parse(text, (_name, member: unknown) => member ?? undefined)

/** @throws Error when the fake is about to say what the real agent never says */
function checked(operation: CiliumOperation, { answers }: OperationDescription, answer: ApiAnswer): ApiAnswer {
  const described = answers[answer.status]
  if (described === undefined) throw new Error(`the fake agent would answer ${operation} with ${answer.status}, which it never does`)
  const parsed = described.safeParse(answer.body === undefined ? undefined : withoutNulls(JSON.stringify(answer.body)))
  if (!parsed.success)
    throw new Error(`the fake agent's answer ${answer.status} to ${operation} is not as described: ${parsed.error.message}`)
  return answer
}

function write(response: ServerResponse, { status, body }: ApiAnswer): void {
  if (body === undefined) {
    response.writeHead(status)
    response.end()
    return
  }
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(`${JSON.stringify(body)}\n`)
}
