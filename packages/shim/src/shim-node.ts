#!/usr/bin/env node
// The same executable on Node, for machines without a compiled one. Everything but the connection is the same source.
import { existsSync, readFileSync, writeSync } from 'node:fs'
import { connect } from 'node:net'
import { isatty } from 'node:tty'
import { setTimeout as pause } from 'node:timers/promises'
import { broken, type Call, decide, requestOf, RESENDS, RETRY_MS, timedOut, unreachable, worthWaiting } from './decide.ts'
import { type Answer, ReplyReader } from './protocol.ts'

const lookup = (name: string): string => process.env[name] ?? ''

/** One attempt: the answer, or how far it came. */
const attempt = (call: Call, request: Uint8Array, ms: number): Promise<Answer | 'absent' | 'cut'> =>
  new Promise((resolve) => {
    const reader = new ReplyReader()
    let connected = false
    const socket = connect({ path: call.socketPath })
    const finish = (outcome: Answer | 'absent' | 'cut'): void => {
      clearTimeout(timer)
      socket.destroy()
      resolve(outcome)
    }
    const timer = setTimeout(() => finish(timedOut(call)), ms)
    const lost = (): void => finish(connected ? 'cut' : 'absent')
    socket.on('connect', () => {
      connected = true
      socket.write(request)
    })
    socket.on('data', (chunk: Uint8Array) => {
      reader.push(chunk, chunk.length)
      const state = reader.state()
      if (state === 'complete') finish(reader.answer())
      else if (state === 'malformed') finish(broken(call, true))
    })
    socket.on('error', lost)
    socket.on('close', lost)
  })

const ask = async (call: Call): Promise<Answer> => {
  const began = performance.now()
  const deadline = began + call.timeoutMs
  let until = began + call.patienceMs
  let sent = 0
  let elapsed = 0
  for (;;) {
    const request = requestOf(call, elapsed, sent > 0)
    const outcome = await attempt(call, request, Math.max(1, deadline - performance.now()))
    if (outcome !== 'absent' && outcome !== 'cut') return outcome
    const now = performance.now()
    if (outcome === 'cut') {
      sent++
      until = now + call.patienceMs
    }
    if (now >= deadline) return timedOut(call)
    if (now >= until || sent > RESENDS || !worthWaiting(call))
      return sent > 0 ? broken(call, false) : unreachable(call, existsSync(call.socketPath))
    await pause(Math.min(RETRY_MS, deadline - now))
    elapsed = performance.now() - began
  }
}

const print = (bytes: Uint8Array): void => {
  let written = 0
  while (written < bytes.length) written += writeSync(1, bytes, written)
}

let stdin = ''
let readable = true
try {
  if (!isatty(0)) stdin = readFileSync(0, 'utf8')
} catch {
  readable = false
}
const decision = decide(lookup, stdin, readable)
const answer = decision.kind === 'ask' ? await ask(decision.call) : decision.answer
print(answer.stdout)
process.exitCode = answer.status
