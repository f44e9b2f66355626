import { once } from 'node:events'
import { existsSync, lstatSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { silentLogger } from '@cni-offload/sdk'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Reply } from '../../src/server/frame.ts'
import { peerUid } from '../../src/server/peer.ts'
import { type RequestHandler, SocketServer } from '../../src/server/socket-server.ts'
import { frame, request } from '../support/call.ts'
import { untilAborted } from '../support/fake-agent.ts'
import { eventually } from '../support/lab.ts'

let dir: string
let path: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'server-'))
  path = join(dir, 'run', 'host.sock')
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const INSPECT = { v: 1, kind: 'inspect' }
const answering: RequestHandler = async () => ({ exitCode: 0, output: 'hello' })
const listen = (handle: RequestHandler = answering, uid?: number): Promise<SocketServer> =>
  SocketServer.listen({ path, handle, log: silentLogger, ...(uid === undefined ? {} : { identify: () => uid }) })

describe('SocketServer', () => {
  it('answers, on a socket that only its owner can open', async () => {
    await using _server = await listen()
    expect(await request(path, INSPECT)).toEqual({ exitCode: 0, output: 'hello' })
    expect(lstatSync(path).mode & 0o777).toBe(0o600)
  })

  it('knows its caller by the kernel’s word', async () => {
    const server = createServer().listen(join(dir, 'peer.sock'))
    await once(server, 'listening')
    const client = connect(join(dir, 'peer.sock'))
    const [socket] = (await once(server, 'connection')) as [Socket]
    expect(peerUid(socket)).toBe(process.getuid?.())
    socket.destroy()
    expect(() => peerUid(socket)).toThrow(expect.objectContaining({ code: 'PERMISSION_DENIED' }))
    client.destroy()
    server.close()
  })

  it('lets root in and other users not', async () => {
    await using _server = await listen(answering, 12_345)
    const { exitCode, output } = await request(path, INSPECT)
    expect(exitCode).toBe(1)
    expect(JSON.parse(output)).toMatchObject({ code: 105, msg: 'user 12345 may not talk to the host daemon' })
  })

  it.each([
    ['garbage', Buffer.from('this is no JSON'), 6],
    ['an empty frame', Buffer.alloc(0), 6],
  ])('survives %s', async (_what, content, code) => {
    await using _server = await listen()
    const { exitCode, output } = await request(path, content)
    expect([exitCode, JSON.parse(output).code]).toEqual([1, code])
    expect((await request(path, INSPECT)).output).toBe('hello')
  })

  it('refuses a frame that is too long, and callers that vanish in the middle of one', async () => {
    await using _server = await listen()
    const liar = connect(path)
    liar.write(Buffer.from([0xff, 0xff, 0xff, 0xff]))
    const chunks: Buffer[] = []
    for await (const chunk of liar) chunks.push(chunk as Buffer)
    expect(JSON.parse(Buffer.concat(chunks).subarray(5).toString()).msg).toContain('4294967295 bytes')
    const vanishing = connect(path)
    await once(vanishing, 'connect')
    vanishing.write(frame(INSPECT).subarray(0, 7))
    vanishing.destroy()
    expect((await request(path, INSPECT)).output).toBe('hello')
  })

  it('answers with megabytes, and takes requests of megabytes', async () => {
    await using _server = await listen(async (got) => ({ exitCode: 2, output: got.kind === 'cni' ? got.stdin : '' }))
    const stdin = 'x'.repeat(3_000_000)
    const { exitCode, output } = await request(path, { v: 1, kind: 'cni', env: {}, stdin, deadlineMs: 1000 })
    expect([exitCode, output.length]).toEqual([2, stdin.length])
  })

  it('aborts a request whose caller has gone away', async () => {
    const started = Promise.withResolvers<void>()
    const ended = Promise.withResolvers<unknown>()
    await using _server = await listen(async (_request, signal) => {
      started.resolve()
      await untilAborted(signal).catch(ended.resolve)
      return { exitCode: 0, output: '' }
    })
    const caller = new AbortController()
    const call = request(path, INSPECT, caller.signal).catch(() => 'gone')
    await started.promise
    caller.abort()
    expect(await ended.promise).toMatchObject({ code: 'CANCELLED', message: 'the caller went away' })
    await call
  })

  it('turns a handler that fails into an answer', async () => {
    await using _server = await listen(() => Promise.reject(new Error('a defect')))
    expect(JSON.parse((await request(path, INSPECT)).output)).toMatchObject({ code: 999, msg: 'a defect' })
  })

  it('lets running requests end when it is drained, and takes no new ones', async () => {
    const started = Promise.withResolvers<void>()
    const go = Promise.withResolvers<Reply>()
    const server = await listen(() => {
      started.resolve()
      return go.promise
    })
    const early = connect(path)
    await once(early, 'connect')
    const call = request(path, INSPECT)
    await started.promise
    const drained = server.drain(60_000)
    early.write(frame(INSPECT))
    const chunks: Buffer[] = []
    for await (const chunk of early) chunks.push(chunk as Buffer)
    expect(Buffer.concat(chunks).length, 'without an answer it comes again').toBe(0)
    await eventually(() => !existsSync(path), 'the socket is gone')
    go.resolve({ exitCode: 0, output: 'done' })
    expect((await call).output).toBe('done')
    await drained
    expect(server.running).toBe(0)
  })

  it.each([
    ['fails then: its caller gets no answer and sends it to the next daemon', 1],
    ['succeeds all the same: its caller is answered', 0],
  ])('aborts what does not end in time, waits for its clean-up, and it %s', async (_what, exitCode) => {
    let cleaned = false
    const started = Promise.withResolvers<void>()
    const server = await listen(async (_request, signal) => {
      started.resolve()
      await untilAborted(signal).catch(() => {})
      await new Promise((resolve) => setImmediate(resolve))
      cleaned = true
      return { exitCode, output: 'said' }
    })
    const answer = request(path, INSPECT).then(
      ({ output }) => output,
      (error: unknown) => String(error),
    )
    await started.promise
    await server.drain(1)
    expect(cleaned).toBe(true)
    expect(await answer).toBe(exitCode === 0 ? 'said' : 'Error: bad reply of 0 bytes')
  })

  it.each(['before', 'after'])('does not wait for a caller that never takes its reply, begun %s the time is over', async (when) => {
    const started = Promise.withResolvers<void>()
    const server = await listen(async (_request, signal) => {
      started.resolve()
      if (when === 'after') await untilAborted(signal).catch(() => {})
      return { exitCode: 0, output: 'x'.repeat(8_000_000) }
    })
    const caller = connect(path)
    const closed = once(caller, 'close')
    caller.pause()
    caller.write(frame(INSPECT))
    await started.promise
    await server.drain(1)
    expect(server.running).toBe(0)
    caller.resume()
    await closed
    expect(caller.bytesRead).toBeLessThan(8_000_000)
  })

  it('takes the place of a socket that a dead daemon left', async () => {
    const dead = createServer()
    mkdirSync(join(dir, 'run'))
    dead.listen(`${path}.x`)
    await once(dead, 'listening')
    renameSync(`${path}.x`, path)
    dead.close()
    await using _server = await listen()
    expect((await request(path, INSPECT)).output).toBe('hello')
  })

  it('refuses the path of a daemon that is alive, of a file, and one that is too long', async () => {
    await using _server = await listen()
    await expect(listen()).rejects.toMatchObject({ code: 'INVALID_CONFIG', message: expect.stringContaining('another process listens') })
    expect((await request(path, INSPECT)).output, 'the first one is not harmed').toBe('hello')
    const plain = join(dir, 'plain')
    writeFileSync(plain, '')
    await expect(SocketServer.listen({ path: plain, handle: answering, log: silentLogger })).rejects.toMatchObject({
      message: expect.stringContaining('no socket'),
    })
    await expect(SocketServer.listen({ path: `/${'x'.repeat(120)}`, handle: answering, log: silentLogger })).rejects.toMatchObject({
      message: expect.stringContaining('at most 100'),
    })
  })

  it('leaves the path alone that a newer daemon has taken over', async () => {
    const old = await listen()
    rmSync(path)
    await using _newer = await listen()
    await old[Symbol.asyncDispose]()
    expect((await request(path, INSPECT)).output).toBe('hello')
  })
})
