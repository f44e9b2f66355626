import { request } from 'node:http'
import type { z } from 'zod'

/** What the agent answered. */
interface Answer {
  readonly status: number
  readonly body: unknown
}

/** A call of the agent's API. */
export interface Call {
  /** HTTP method. */
  readonly method: string
  /** Path below `/v1`, with the query. */
  readonly path: string
  /** Body, to be written as JSON. */
  readonly body?: unknown
  /** Headers besides the usual ones. */
  readonly headers?: Readonly<Record<string, string>>
}

/** A call of the agent's API that failed, in the words that cilium-cni prints. */
export class AgentFailure extends Error {
  override readonly name = 'AgentFailure'
  /** HTTP status; undefined where nobody answered. */
  readonly status: number | undefined

  /** Keeps the status apart. */
  constructor(message: string, status?: number, cause?: unknown) {
    super(message, { cause })
    this.status = status
  }
}

/** The agent's API as far as a plugin needs it, without a library of ours: what is tested must not test itself. */
export class AgentClient {
  readonly #socket: string

  /** @param socket - path; as with cilium-cni nothing else will do */
  constructor(socket: string) {
    this.#socket = socket
  }

  /** Makes a call and reads the answer by a schema. @throws AgentFailure for any status but those of success */
  async ask<T>(what: Call, schema: z.ZodType<T>): Promise<T> {
    return schema.parse(await this.call(what))
  }

  /** Makes a call. @throws AgentFailure for any status but those of success */
  async call({ method, path, body, headers = {} }: Call): Promise<unknown> {
    const answer = await this.#exchange(method, path, body, headers)
    if (answer.status < 300) return answer.body
    const text = typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body ?? '')
    throw new AgentFailure(`[${method} ${generic(path)}][${answer.status}] ${text}`, answer.status)
  }

  #exchange(method: string, path: string, body: unknown, headers: Readonly<Record<string, string>>): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    const text = body === undefined ? undefined : JSON.stringify(body)
    const failed = (error: NodeJS.ErrnoException): void =>
      reject(new AgentFailure(`${inWords(method)} "http://localhost/v1${path}": ${this.#why(error)}`, undefined, error))
    const sent = request(
      {
        socketPath: this.#socket,
        method,
        path: `/v1${path}`,
        headers: {
          Host: 'localhost',
          Accept: 'application/json',
          // Without its length Node leaves the body of a DELETE out.
          ...(text === undefined ? {} : { 'Content-Type': 'application/json', 'Content-Length': String(Buffer.byteLength(text)) }),
          ...headers,
        },
      },
      (reply) => {
        let read = ''
        reply.setEncoding('utf8')
        reply.on('data', (chunk: string) => (read += chunk))
        reply.on('error', failed)
        reply.on('end', () => resolve({ status: reply.statusCode ?? 0, body: decode(read) }))
      },
    )
    sent.on('error', failed)
    sent.end(text)
    return promise
  }

  /** As Go's HTTP client tells it. */
  #why({ code, message }: NodeJS.ErrnoException): string {
    const refused = { ECONNREFUSED: 'connection refused', ENOENT: 'no such file or directory' }[code ?? '']
    if (refused !== undefined) return `dial unix ${this.#socket}: connect: ${refused}`
    if (code === 'EPIPE') return `write unix @->${this.#socket}: write: broken pipe`
    if (code === 'ECONNRESET') return message === 'socket hang up' ? 'EOF' : `read unix @->${this.#socket}: read: connection reset by peer`
    return message
  }
}

const inWords = (method: string): string => `${method.charAt(0)}${method.slice(1).toLowerCase()}`

function decode(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

const generic = (path: string): string => path.replace(/\?.*$/, '').replace(/^\/(endpoint|ipam)\/[^/]+/, '/$1/{id}')
