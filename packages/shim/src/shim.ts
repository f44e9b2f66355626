// Entry of the compiled executable: blocking calls from start to end, so that there is no event loop to set up.
import * as fs from 'node:fs'
import { broken, type Call, decide, requestOf, RESENDS, RETRY_MS, timedOut, unreachable, worthWaiting } from './decide.ts'
import { close, connect, openSocket, pause, receive, send, setTimeouts } from './libc.ts'
import { type Answer, ReplyReader } from './protocol.ts'

/**
 * Calls fail for being interrupted too (a stopped process that continues, for one), and C's errno is out of reach here.
 * A real failure comes again at once.
 */
const ATTEMPTS = 8

const lookup = (name: string): string => process.env[name] ?? ''

/** Sends the whole request; false if the time was over or the daemon went away. */
const sendAll = (fd: number, bytes: Uint8Array, deadline: number): boolean => {
  let sent = 0
  let failures = 0
  while (sent < bytes.length) {
    const remaining = deadline - performance.now()
    if (remaining <= 0 || failures === ATTEMPTS) return false
    setTimeouts(fd, remaining)
    const count = send(fd, bytes.subarray(sent))
    if (count > 0) sent += count
    else failures++
  }
  return true
}

/** The reply; null if the connection ended without one. */
const receiveReply = (fd: number, call: Call, deadline: number): Answer | null => {
  const reader = new ReplyReader()
  const chunk = new Uint8Array(65_536)
  let failures = 0
  while (failures < ATTEMPTS) {
    const remaining = deadline - performance.now()
    if (remaining <= 0) return timedOut(call)
    setTimeouts(fd, remaining)
    const count = receive(fd, chunk)
    if (count === 0) return null
    if (count < 0) {
      failures++
      continue
    }
    reader.push(chunk, count)
    const state = reader.state()
    if (state === 'complete') return reader.answer()
    if (state === 'malformed') return broken(call, true)
  }
  return null
}

const ask = (call: Call): Answer => {
  const began = performance.now()
  const deadline = began + call.timeoutMs
  let until = began + call.patienceMs
  let sent = 0
  let elapsed = 0
  for (;;) {
    const fd = openSocket()
    if (fd < 0) return unreachable(call, true)
    setTimeouts(fd, Math.max(1, deadline - performance.now()))
    const connected = connect(fd, call.socketPath)
    if (connected) {
      // A daemon that refuses a request half way may have said why: its reply counts, also if not everything could be sent.
      sendAll(fd, requestOf(call, elapsed, sent > 0), deadline)
      const answer = receiveReply(fd, call, deadline)
      if (answer !== null) return answer
      sent++
      until = performance.now() + call.patienceMs
    }
    close(fd)
    const now = performance.now()
    if (now >= deadline) return timedOut(call)
    if (now >= until || sent > RESENDS || !worthWaiting(call))
      return sent > 0 ? broken(call, false) : unreachable(call, fs.existsSync(call.socketPath))
    pause(Math.max(1, Math.min(RETRY_MS, Math.floor(deadline - now))))
    elapsed = performance.now() - began
  }
}

const print = (bytes: Uint8Array): void => {
  let written = 0
  while (written < bytes.length) written += fs.writeSync(1, bytes, written, bytes.length - written)
}

let stdin = ''
let readable = true
try {
  // At a terminal nobody would type a configuration: whoever tries the command by hand gets an answer at once.
  if (process.stdin.isTTY !== true) stdin = fs.readFileSync(0, 'utf8')
} catch {
  readable = false
}
const decision = decide(lookup, stdin, readable)
const answer = decision.kind === 'ask' ? ask(decision.call) : decision.answer
print(answer.stdout)
process.exit(answer.status)
