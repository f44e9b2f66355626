import { errorAnswer, INVALID_ENVIRONMENT, IO_FAILURE, NOT_AVAILABLE, TRY_AGAIN, versionAnswer } from './answers.ts'
import { type Answer, frame } from './protocol.ts'
import { attachmentProblem, netconfProblem } from './validate.ts'

/** A request that the daemon has to answer. */
export interface Call {
  readonly socketPath: string
  /** How long to wait for the answer, in milliseconds. */
  readonly timeoutMs: number
  /** How long to wait for a daemon that is not there, in milliseconds: it may be restarting. */
  readonly patienceMs: number
  /** The request but for its times. */
  readonly body: string
  readonly verb: string
  readonly stdin: string
}

/** What there is to do: print an answer at once, or ask the daemon. */
export type Decision = { readonly kind: 'answer'; readonly answer: Answer } | { readonly kind: 'ask'; readonly call: Call }

/** Value of an environment variable; empty where it is not set, as runtimes set variables to "" that they mean to be absent. */
export type Lookup = (name: string) => string

const DEFAULT_SOCKET = '/run/cni-offload/host.sock'
const DEFAULT_TIMEOUT_MS = 110_000
const MAX_TIMEOUT_MS = 3_600_000
const DEFAULT_PATIENCE_MS = 15_000
/** Who asks for the status wants to know how it is now. */
const STATUS_PATIENCE_MS = 2_000
/** Pause between two attempts to connect, in milliseconds. */
export const RETRY_MS: number = 50
/** How often a call is sent again after its connection has ended without an answer: it may be what ends the daemon. */
export const RESENDS: number = 3
/** Longest path that a unix socket's address holds, without the closing zero. */
const MAX_SOCKET_PATH_BYTES = 107

/** Variables of the specification; the daemon reads no others. */
const FORWARDED: readonly string[] = ['CNI_COMMAND', 'CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME', 'CNI_ARGS', 'CNI_PATH']

const requiredFor = (verb: string): readonly string[] => {
  if (verb === 'ADD' || verb === 'CHECK') return ['CNI_CONTAINERID', 'CNI_IFNAME', 'CNI_NETNS']
  return verb === 'DEL' ? ['CNI_CONTAINERID', 'CNI_IFNAME'] : []
}

const isVerb = (text: string): boolean => ['ADD', 'DEL', 'CHECK', 'GC', 'STATUS', 'VERSION'].includes(text)

/** What is wrong with the CNI_* variables, or "". */
const environmentProblem = (lookup: Lookup): string => {
  const verb = lookup('CNI_COMMAND')
  const missing = verb === '' ? ['CNI_COMMAND'] : requiredFor(verb).filter((name) => lookup(name) === '')
  if (missing.length > 0) return `required env variables [${missing.join(',')}] missing`
  if (!isVerb(verb)) return `unknown CNI_COMMAND: ${verb.slice(0, 64)}`
  return attachmentProblem(verb, lookup('CNI_CONTAINERID'), lookup('CNI_IFNAME'), lookup('CNI_NETNS'))
}

/** A number of milliseconds; -1 for what is not one in range. */
const milliseconds = (text: string): number => {
  if (text.length === 0 || text.length > 7) return -1
  let value = 0
  for (let at = 0; at < text.length; at++) {
    const digit = text.charCodeAt(at) - 48
    if (digit < 0 || digit > 9) return -1
    value = value * 10 + digit
  }
  return value <= MAX_TIMEOUT_MS ? value : -1
}

/** What the daemon may use of the time: a tenth is kept, at most a second, so that its own answer comes before we give up. */
const forDaemon = (timeoutMs: number): number => timeoutMs - Math.min(1000, Math.floor(timeoutMs / 10))

const requestBody = (lookup: Lookup, stdin: string): string => {
  const given = FORWARDED.filter((name) => lookup(name) !== '')
  const env = given.map((name) => `${JSON.stringify(name)}:${JSON.stringify(lookup(name))}`)
  return `{"v":1,"kind":"cni","env":{${env.join(',')}},"stdin":${JSON.stringify(stdin)}`
}

/**
 * The request as it is sent.
 *
 * @param elapsedMs - time since the call began, as far as it was spent waiting
 * @param again - whether it was sent before; the daemon is then told when the call began, and knows what it has made for it
 */
export function requestOf(call: Call, elapsedMs: number, again: boolean): Uint8Array {
  const elapsed = Math.floor(elapsedMs)
  const since = again ? `,"sinceMs":${elapsed}` : ''
  return frame(`${call.body},"deadlineMs":${Math.max(1, forDaemon(call.timeoutMs - elapsed))}${since}}`)
}

/** Whether waiting for the daemon can change the answer: a call that could never succeed is told so at once. */
export function worthWaiting(call: Call): boolean {
  return netconfProblem(call.verb, call.stdin) === null
}

const answering = (answer: Answer): Decision => ({ kind: 'answer', answer })

/**
 * Decides what a call of the executable comes to. VERSION and a broken environment are answered here, also when the
 * daemon is down; everything else is the daemon's.
 *
 * @param lookup - the environment
 * @param stdin - standard input, "" where it could not be read
 * @param readable - whether it could be read
 */
export function decide(lookup: Lookup, stdin: string, readable: boolean): Decision {
  const problem = environmentProblem(lookup)
  if (problem !== '') return answering(errorAnswer(stdin, INVALID_ENVIRONMENT, problem, ''))
  const verb = lookup('CNI_COMMAND')
  if (verb === 'VERSION') return answering(versionAnswer(stdin))
  if (!readable)
    return answering(errorAnswer('', IO_FAILURE, 'standard input cannot be read', 'The network configuration is expected there.'))
  const socketPath = lookup('CNI_OFFLOAD_SOCKET') === '' ? DEFAULT_SOCKET : lookup('CNI_OFFLOAD_SOCKET')
  if (new TextEncoder().encode(socketPath).length > MAX_SOCKET_PATH_BYTES) {
    const details = `The path of a socket has at most ${MAX_SOCKET_PATH_BYTES} bytes.`
    return answering(errorAnswer(stdin, INVALID_ENVIRONMENT, `CNI_OFFLOAD_SOCKET = ${socketPath} is too long`, details))
  }
  const timeout = lookup('CNI_OFFLOAD_TIMEOUT_MS')
  const timeoutMs = timeout === '' ? DEFAULT_TIMEOUT_MS : milliseconds(timeout)
  if (timeoutMs < 1) {
    const details = `A number of milliseconds from 1 to ${MAX_TIMEOUT_MS} is expected.`
    return answering(errorAnswer(stdin, INVALID_ENVIRONMENT, `CNI_OFFLOAD_TIMEOUT_MS = ${JSON.stringify(timeout.slice(0, 64))}`, details))
  }
  const patience = lookup('CNI_OFFLOAD_CONNECT_MS')
  const given = patience === '' ? DEFAULT_PATIENCE_MS : milliseconds(patience)
  if (given < 0) {
    const details = `A number of milliseconds from 0 to ${MAX_TIMEOUT_MS} is expected.`
    return answering(errorAnswer(stdin, INVALID_ENVIRONMENT, `CNI_OFFLOAD_CONNECT_MS = ${JSON.stringify(patience.slice(0, 64))}`, details))
  }
  const patienceMs = verb === 'STATUS' ? Math.min(given, STATUS_PATIENCE_MS) : given
  return { kind: 'ask', call: { socketPath, timeoutMs, patienceMs, body: requestBody(lookup, stdin), verb, stdin } }
}

/** A call that could not have succeeded is told so, and only others to try again. */
const failed = (call: Call, msg: string, details: string): Answer => {
  const problem = netconfProblem(call.verb, call.stdin)
  if (problem !== null) return errorAnswer(call.stdin, problem.code, problem.msg, msg)
  return errorAnswer(call.stdin, call.verb === 'STATUS' ? NOT_AVAILABLE : TRY_AGAIN, msg, details)
}

/** The answer when no connection can be made. @param present - whether there is anything at the socket's path */
export function unreachable(call: Call, present: boolean): Answer {
  const why = present ? 'nobody listens there, or this user may not connect' : 'there is no socket'
  const start =
    'Start the daemon (offload-host --config /etc/cni-offload/host.yaml) or the service that runs it; CNI_OFFLOAD_SOCKET names another socket, CNI_OFFLOAD_CONNECT_MS how long to wait for it.'
  return failed(call, `the host daemon cannot be reached at ${call.socketPath}: ${why}`, start)
}

/** The answer when the time is over. */
export function timedOut(call: Call): Answer {
  const details = 'Its log says what it waited for. It undoes what it had begun. CNI_OFFLOAD_TIMEOUT_MS sets another limit.'
  return failed(call, `the host daemon at ${call.socketPath} did not answer within ${call.timeoutMs} ms`, details)
}

/** The answer when the daemon went away, or spoke something else. */
export function broken(call: Call, malformed: boolean): Answer {
  const what = malformed ? 'sent something that is not a reply' : 'closed the connection before it had answered'
  const details = malformed
    ? 'Are the executable and the daemon of the same release?'
    : 'It was stopped or has crashed; its log says why. Calling again is safe.'
  return failed(call, `the host daemon at ${call.socketPath} ${what}`, details)
}
