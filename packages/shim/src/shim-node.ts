#!/usr/bin/env node
// The same executable on Node, for machines without a compiled one. Everything but the connection is the same source.
import { existsSync, readFileSync, writeSync } from 'node:fs'
import { connect } from 'node:net'
import { isatty } from 'node:tty'
import { broken, type Call, decide, timedOut, unreachable } from './decide.ts'
import { type Answer, ReplyReader } from './protocol.ts'

const lookup = (name: string): string => process.env[name] ?? ''

const ask = (call: Call): Promise<Answer> =>
  new Promise((resolve) => {
    const reader = new ReplyReader()
    let connected = false
    const socket = connect({ path: call.socketPath })
    const finish = (answer: Answer): void => {
      clearTimeout(timer)
      socket.destroy()
      resolve(answer)
    }
    const timer = setTimeout(() => finish(timedOut(call)), call.timeoutMs)
    const lost = (): void => finish(connected ? broken(call, false) : unreachable(call, existsSync(call.socketPath)))
    socket.on('connect', () => {
      connected = true
      socket.write(call.request)
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
