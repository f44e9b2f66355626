import { rename, rm } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { API_DESCRIPTION } from './api-description.ts'
import type { CiliumOperation } from './api-model.ts'
import { ApiFailure } from './api-failure.ts'
import type { FaultEffect } from './faults.ts'
import type { ApiAnswer, ApiCall } from './handlers.ts'

/** What a server asks for each request. */
export interface HttpHooks {
  /** What goes wrong with it. */
  readonly fault: (operation: CiliumOperation) => FaultEffect | undefined
  /** Works on it. */
  readonly answer: (call: ApiCall) => Promise<ApiAnswer>
  /** Told of each answer that was given; status 0 where there was none. */
  readonly served: (operation: CiliumOperation, argument: string, status: number) => void
}

const BASE = '/v1'

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
    const route = routeOf(request.method ?? '', url.pathname)
    if (route === undefined) return write(response, { status: 404, body: { code: 404, message: `path ${url.pathname} was not found` } })
    const { operation, argument } = route
    const body = await bodyOf(request)
    const effect = this.#hooks.fault(operation)
    const finish = (answer: ApiAnswer): void => {
      this.#hooks.served(operation, argument, answer.status)
      write(response, answer)
    }
    const cut = (): void => {
      this.#hooks.served(operation, argument, 0)
      request.socket.destroy()
    }
    if (effect?.kind === 'hang') return this.#hooks.served(operation, argument, 0)
    if (effect?.kind === 'cut' && effect.when === 'before') return cut()
    if (effect?.kind === 'answer') return finish(effect)
    const header = (name: string): string | undefined => request.headers[name]?.toString()
    const answer = await this.#answer(
      { operation, argument, query: url.searchParams, header, body: undefined },
      body,
      header('content-type'),
    )
    if (effect?.kind === 'cut') return cut()
    finish(effect?.kind === 'misreport' ? effect : answer)
  }

  async #answer(call: ApiCall, text: string, contentType: string | undefined): Promise<ApiAnswer> {
    try {
      const body = decode(call.operation, text, contentType)
      const answer = await this.#hooks.answer({ ...call, body })
      return checked(call.operation, answer)
    } catch (error) {
      if (error instanceof ApiFailure) return { status: error.status, body: error.body }
      throw error
    }
  }
}

function routeOf(method: string, pathname: string): { readonly operation: CiliumOperation; readonly argument: string } | undefined {
  if (!pathname.startsWith(`${BASE}/`)) return undefined
  const [resource = '', argument, sub] = pathname.slice(BASE.length + 1).split('/')
  const pattern =
    argument === undefined ? resource : `${resource}/{${resource === 'ipam' ? 'ip' : 'id'}}${sub === undefined ? '' : `/${sub}`}`
  const operation = `${method} /${pattern}`
  return isOperation(operation) ? { operation, argument: decodeURIComponent(argument ?? '') } : undefined
}

const isOperation = (text: string): text is CiliumOperation => Object.hasOwn(API_DESCRIPTION, text)

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of request.setEncoding('utf8')) text += String(chunk)
  return text
}

/** The framework of the real agent refuses what is not as described by itself, and not with a JSON string. */
function refused(code: number, message: string): ApiFailure {
  return new ApiFailure(code, message, { code, message })
}

function decode(operation: CiliumOperation, text: string, contentType: string | undefined): unknown {
  const { request } = API_DESCRIPTION[operation]
  if (text !== '' && contentType !== 'application/json')
    throw refused(415, `unsupported media type "${contentType ?? 'application/octet-stream'}", only [application/json] are allowed`)
  if (request === undefined) return undefined
  let value: unknown
  try {
    value = text === '' ? undefined : JSON.parse(text)
  } catch (error) {
    throw refused(400, `parsing body failed: ${String(error)}`)
  }
  const parsed = request.safeParse(value)
  if (!parsed.success)
    throw refused(422, `validation failure: ${parsed.error.issues.map(({ path, message }) => `${path.join('.')} ${message}`).join('; ')}`)
  return parsed.data
}

/** @throws Error when the fake is about to say what the real agent never says */
function checked(operation: CiliumOperation, answer: ApiAnswer): ApiAnswer {
  const described = API_DESCRIPTION[operation].answers[answer.status]
  if (described === undefined) throw new Error(`the fake agent would answer ${operation} with ${answer.status}, which it never does`)
  const parsed = described.safeParse(answer.body)
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
