import { connect } from 'node:net'
import { type Fields, fieldsOf } from './fields.ts'

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

  /** Makes a call that is answered with an object. @throws AgentFailure for any status but those of success */
  async ask(what: Call): Promise<Fields> {
    return fieldsOf(await this.call(what), `the answer to ${what.method} ${generic(what.path)}`)
  }

  /** Makes a call. @throws AgentFailure for any status but those of success */
  async call({ method, path, body, headers = {} }: Call): Promise<unknown> {
    const answer = await this.#exchange(method, path, body, headers)
    if (answer.status < 300) return answer.body
    const text = typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body ?? '')
    throw new AgentFailure(`[${method} ${generic(path)}][${answer.status}] ${text}`, answer.status)
  }

  /** By HTTP 1.0, where an answer ends with its connection: Node's own client takes longer to load than a call to be answered. */
  #exchange(method: string, path: string, body: unknown, headers: Readonly<Record<string, string>>): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    const failed = (why: string, cause?: Error): void =>
      reject(new AgentFailure(`${inWords(method)} "http://localhost/v1${path}": ${why}`, undefined, cause))
    const text = body === undefined ? '' : JSON.stringify(body)
    const type = body === undefined ? {} : { 'Content-Type': 'application/json' }
    const all = { Host: 'localhost', Accept: 'application/json', ...type, 'Content-Length': Buffer.byteLength(text), ...headers }
    const head = [`${method} /v1${path} HTTP/1.0`, ...Object.entries(all).map(([name, value]) => `${name}: ${value}`)]
    const connection = connect(this.#socket)
    let read = ''
    connection.setEncoding('utf8')
    connection.on('data', (chunk: string) => (read += chunk))
    connection.on('error', (error: NodeJS.ErrnoException) => failed(this.#why(error), error))
    connection.on('end', () => {
      const { status, content } = /^HTTP\/1\.\d (?<status>\d{3})[^]*?\r\n\r\n(?<content>[^]*)$/.exec(read)?.groups ?? {}
      if (status === undefined) failed('EOF')
      else resolve({ status: Number(status), body: decode(content ?? '') })
    })
    connection.write(`${head.join('\r\n')}\r\n\r\n${text}`)
    return promise
  }

  /** As Go's HTTP client tells it. */
  #why({ code, message }: NodeJS.ErrnoException): string {
    const refused = { ECONNREFUSED: 'connection refused', ENOENT: 'no such file or directory' }[code ?? '']
    if (refused !== undefined) return `dial unix ${this.#socket}: connect: ${refused}`
    if (code === 'EPIPE') return `write unix @->${this.#socket}: write: broken pipe`
    if (code === 'ECONNRESET') return `read unix @->${this.#socket}: read: connection reset by peer`
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
