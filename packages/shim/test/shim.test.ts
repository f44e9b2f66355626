import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { CNI_VERSIONS, encodeError, parseEnvironment, versionReply } from '@cni-offload/sdk/cni'
import { beforeAll, describe, expect, it } from 'vitest'
import { nodeShimPath, shimPath } from '../src/build.ts'
import { FakeDaemon, reply } from './fake-daemon.ts'

const ADD = {
  CNI_COMMAND: 'ADD',
  CNI_CONTAINERID: 'c1',
  CNI_NETNS: '/run/netns/x',
  CNI_IFNAME: 'eth0',
  CNI_ARGS: 'A=1;B=é',
  CNI_PATH: '/opt/cni/bin',
}
const CONF = '{"cniVersion":"1.1.0","name":"pods","type":"offload-cni"}'

let compiled = ''
// The first build of the executable takes a compiler's time.
beforeAll(async () => {
  compiled = await shimPath()
}, 300_000)

interface Outcome {
  readonly status: number | null
  readonly signal: string | null
  readonly stdout: string
  readonly stderr: string
}

const collect = async (command: readonly string[], env: Record<string, string>, stdin: string | Uint8Array): Promise<Outcome> => {
  // Nothing but what the runtime sets: a container runtime's environment may be empty.
  const child = spawn(command[0]!, command.slice(1), { env, stdio: ['pipe', 'pipe', 'pipe'] })
  child.stdin.on('error', () => {})
  child.stdin.end(stdin)
  const [stdout, stderr, [status, signal]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')])
  return { status: status as number | null, signal: signal as string | null, stdout, stderr }
}

/** Resolves when the kernel says that a process is in a state: S sleeping, T stopped. */
const state = async (pid: number, wanted: string): Promise<void> => {
  while (!readFileSync(`/proc/${pid}/stat`, 'utf8').includes(`) ${wanted} `)) await new Promise((resolve) => setImmediate(resolve))
}

const builds = [
  ['compiled', () => [compiled]],
  ['on Node', () => [process.execPath, nodeShimPath()]],
] as const

describe.each(builds)('offload-cni, %s', (build, command) => {
  /** Without patience, unless the test is about it. */
  const run = (env: Record<string, string>, stdin: string | Uint8Array = CONF): Promise<Outcome> =>
    collect(command(), { CNI_OFFLOAD_CONNECT_MS: '0', ...env }, stdin)

  const failure = async (
    env: Record<string, string>,
    stdin: string | Uint8Array = CONF,
  ): Promise<{ cniVersion: string; code: number; msg: string; details: string }> => {
    const { status, stdout, stderr } = await run(env, stdin)
    expect([status, stderr]).toEqual([1, ''])
    return JSON.parse(stdout) as { cniVersion: string; code: number; msg: string; details: string }
  }

  describe('without a daemon', () => {
    const nowhere = { CNI_OFFLOAD_SOCKET: '/nonexistent/host.sock' }

    it.each([
      ...CNI_VERSIONS.map((version) => JSON.stringify({ cniVersion: version })),
      '{"cniVersion":"99.0.0","name":"x","z":[1]}',
      '',
      'garbage {',
      '{}',
      '[]',
      'null',
      '{"cniVersion":7}',
    ])('answers VERSION as the SDK does: %s', async (stdin) => {
      const { status, stdout } = await run(
        { ...nowhere, CNI_COMMAND: 'VERSION', CNI_NETNS: 'dummy', CNI_CONTAINERID: '', CNI_OFFLOAD_TIMEOUT_MS: 'bad' },
        stdin,
      )
      expect(status).toBe(0)
      expect(stdout).toBe(`${versionReply(stdin)}\n`)
    })

    it.each([
      {},
      { CNI_COMMAND: '' },
      { CNI_COMMAND: 'add' },
      { CNI_COMMAND: 'ADD' },
      { ...ADD, CNI_NETNS: '' },
      { ...ADD, CNI_COMMAND: 'CHECK', CNI_IFNAME: '' },
      { CNI_COMMAND: 'DEL', CNI_CONTAINERID: '' },
      { CNI_COMMAND: 'x'.repeat(100) },
    ])('refuses the environment %j as the SDK does', async (env: Record<string, string>) => {
      const { stdout } = await run(env)
      let expected = ''
      try {
        parseEnvironment(env)
      } catch (error) {
        expected = encodeError(error, '1.1.0').json
      }
      expect(stdout).toBe(`${expected}\n`)
      expect(JSON.parse(stdout)).toMatchObject({ code: 4 })
    })

    it('answers a broken environment although standard input is broken too', async () => {
      expect(await failure({ CNI_COMMAND: 'ADD' }, 'garbage')).toMatchObject({ cniVersion: '1.1.0', code: 4 })
    })

    it('says where the daemon should be and how to start it', async () => {
      const error = await failure({ ...ADD, ...nowhere })
      expect(error).toMatchObject({
        cniVersion: '1.1.0',
        code: 11,
        msg: 'the host daemon cannot be reached at /nonexistent/host.sock: there is no socket',
      })
      expect(error.details).toContain('offload-host --config /etc/cni-offload/host.yaml')
    })

    it('waits for a daemon as long as it is told, but not where waiting could not help', async () => {
      expect(await failure({ ...ADD, ...nowhere, CNI_OFFLOAD_CONNECT_MS: '300' })).toMatchObject({ code: 11 })
      expect(await failure({ ...ADD, ...nowhere, CNI_OFFLOAD_CONNECT_MS: '3600000' }, '{}')).toMatchObject({ code: 7 })
      expect(await failure({ ...ADD, ...nowhere, CNI_OFFLOAD_CONNECT_MS: '3600000', CNI_OFFLOAD_TIMEOUT_MS: '300' })).toMatchObject({
        code: 11,
        msg: expect.stringContaining('within 300 ms'),
      })
      expect(await failure({ CNI_COMMAND: 'STATUS', ...nowhere, CNI_OFFLOAD_CONNECT_MS: '3600000' })).toMatchObject({ code: 50 })
    })

    it.each(['-1', 'soon', '3600001'])('refuses the patience %j', async (limit) => {
      const error = await failure({ ...ADD, CNI_OFFLOAD_CONNECT_MS: limit })
      expect(error).toMatchObject({ code: 4, msg: `CNI_OFFLOAD_CONNECT_MS = ${JSON.stringify(limit)}` })
    })

    it('tells STATUS that it is not available', async () => {
      expect(await failure({ CNI_COMMAND: 'STATUS', ...nowhere })).toMatchObject({
        code: 50,
        msg: expect.stringContaining('/nonexistent/host.sock'),
      })
    })

    it.each(['', '  ', 'hello', '[]', 'null', '"x"', '{"a":1}}', `{"a":${'['.repeat(400_000)}`])('cannot decode %.20s', async (stdin) => {
      expect(await failure({ ...ADD, ...nowhere }, stdin)).toMatchObject({ code: 6 })
    })

    it.each(['0', '-1', '1.5', 'soon', '3600001', '99999999999999999999', ' 5'])('refuses the time limit %j', async (limit) => {
      const error = await failure({ ...ADD, CNI_OFFLOAD_TIMEOUT_MS: limit })
      expect(error).toMatchObject({ code: 4, msg: `CNI_OFFLOAD_TIMEOUT_MS = ${JSON.stringify(limit)}` })
    })

    it('refuses a socket path that no socket can have', async () => {
      expect(await failure({ ...ADD, CNI_OFFLOAD_SOCKET: `/${'x'.repeat(107)}` })).toMatchObject({
        code: 4,
        msg: expect.stringContaining('CNI_OFFLOAD_SOCKET'),
      })
      expect(await failure({ ...ADD, CNI_OFFLOAD_SOCKET: `/${'x'.repeat(106)}` })).toMatchObject({ code: 11 })
    })

    it.each([
      ['ADD', '{}', 7],
      ['DEL', '{"name":"a/b","cniVersion":"9.9.9"}', 7],
      ['DEL', '{"name":"a\\n"}', 7],
      ['ADD', '{"name":5}', 6],
      ['DEL', '{"name":"a","cniVersion":1.0}', 6],
      ['DEL', '{"name":"a","cniVersion":"1.0.0 "}', 1],
      ['CHECK', '{"name":"a","cniVersion":"0.3.1"}', 1],
      ['GC', '{"name":"a"}', 1],
    ])('does not promise that %s of %s will do later', async (verb, stdin, code) => {
      expect(await failure({ ...ADD, ...nowhere, CNI_COMMAND: verb }, stdin)).toMatchObject({
        code,
        details: expect.stringContaining('cannot be reached'),
      })
    })

    it.each([
      { CNI_CONTAINERID: '../x' },
      { CNI_IFNAME: 'much-too-long-for-an-interface' },
      { CNI_IFNAME: 'éééééééé' },
      { CNI_NETNS: 'relative' },
    ])('refuses %j', async (env: Record<string, string>) => {
      expect(await failure({ ...ADD, ...nowhere, ...env })).toMatchObject({ code: 4, msg: expect.stringContaining(Object.keys(env)[0]!) })
    })

    it('uses no words that make containerd forget a failed DEL', async () => {
      const { msg, details } = await failure({ ...ADD, CNI_COMMAND: 'DEL', ...nowhere })
      expect(`${msg} ${details}`).not.toMatch(/not found|no such file or directory/)
    })

    it.skipIf(build === 'on Node')('reports standard input that is closed (Node opens it anew)', async () => {
      const { status, stdout } = await collect(['/bin/sh', '-c', 'exec "$0" <&-', compiled], { ...ADD, ...nowhere }, '')
      expect(status).toBe(1)
      expect(JSON.parse(stdout)).toMatchObject({ code: 5 })
    })

    it('notices that nobody listens at a socket that exists', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'offload-shim-'))
      const path = join(folder, 'host.sock')
      const script = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`
      await collect([process.execPath, '-e', script], {}, '')
      const error = await failure({ ...ADD, CNI_OFFLOAD_SOCKET: path })
      rmSync(folder, { recursive: true })
      expect(error).toMatchObject({ code: 11, msg: expect.stringContaining('nobody listens there') })
    })
  })

  describe('with a daemon', () => {
    it('forwards the call and prints the reply as it is', async () => {
      const result = '{"cniVersion":"1.0.0","note":"é€😀"}'
      await using daemon = await FakeDaemon.listen((socket) => socket.end(reply(0, result)))
      const env = {
        ...ADD,
        CNI_NETNS_OVERRIDE: '1',
        TRACEPARENT: '00-1-2-01',
        HOME: '/root',
        CNI_OFFLOAD_SOCKET: daemon.socketPath,
        CNI_OFFLOAD_TIMEOUT_MS: '20000',
      }
      expect(await run(env, CONF)).toEqual({ status: 0, signal: null, stdout: result, stderr: '' })
      expect(daemon.requests).toEqual([{ v: 1, kind: 'cni', env: ADD, stdin: CONF, deadlineMs: 19_000 }])
    })

    it('waits 110 s unless told otherwise, and asks the daemon to be done before', async () => {
      await using daemon = await FakeDaemon.listen((socket) => socket.end(reply(0, '')))
      await run({ ...ADD, CNI_OFFLOAD_SOCKET: daemon.socketPath })
      await run({ ...ADD, CNI_OFFLOAD_SOCKET: daemon.socketPath, CNI_OFFLOAD_TIMEOUT_MS: '1000' })
      expect(daemon.requests.map(({ deadlineMs }) => deadlineMs)).toEqual([109_000, 900])
    })

    it('prints nothing where the daemon says nothing, and exits with its status', async () => {
      await using daemon = await FakeDaemon.listen((socket, { env }) =>
        socket.end(reply(env['CNI_COMMAND'] === 'DEL' ? 0 : 7, env['CNI_COMMAND'] === 'DEL' ? '' : '{}')),
      )
      const env = { ...ADD, CNI_OFFLOAD_SOCKET: daemon.socketPath }
      expect(await run({ ...env, CNI_COMMAND: 'DEL', CNI_NETNS: '' })).toEqual({ status: 0, signal: null, stdout: '', stderr: '' })
      expect(await run(env)).toEqual({ status: 7, signal: null, stdout: '{}', stderr: '' })
      expect(daemon.requests[0]!.env).not.toHaveProperty('CNI_NETNS')
    })

    it('carries megabytes both ways, in pieces', async () => {
      const big = JSON.stringify({ name: 'pods', x: 'é"\\\n\u0001'.repeat(500_000) })
      await using daemon = await FakeDaemon.listen((socket, { stdin }) => {
        const bytes = reply(0, stdin)
        socket.write(bytes.subarray(0, 3))
        setImmediate(() => {
          socket.write(bytes.subarray(3, 100_001))
          setImmediate(() => socket.end(bytes.subarray(100_001)))
        })
      })
      const { status, stdout } = await run({ ...ADD, CNI_OFFLOAD_SOCKET: daemon.socketPath }, big)
      expect(status).toBe(0)
      expect(stdout === big).toBe(true)
    })

    it('forwards what is not JSON, and not even UTF-8, as text', async () => {
      await using daemon = await FakeDaemon.listen((socket) => socket.end(reply(0, '')))
      const env = { ...ADD, CNI_OFFLOAD_SOCKET: daemon.socketPath }
      await run(env, Buffer.of(0x22, 0xff, 0xfe, 0x80, 0x00, 0x22))
      await run(env, '')
      expect(daemon.requests.map(({ stdin }) => stdin)).toEqual(['"\ufffd\ufffd\ufffd\0"', ''])
    })

    it('gives up when the time is over', async () => {
      await using daemon = await FakeDaemon.listen(() => {})
      const error = await failure({ ...ADD, CNI_OFFLOAD_SOCKET: daemon.socketPath, CNI_OFFLOAD_TIMEOUT_MS: '300' })
      expect(error).toMatchObject({ code: 11, msg: `the host daemon at ${daemon.socketPath} did not answer within 300 ms` })
    })

    it('gives up in the middle of a reply, and of a request that nobody reads', async () => {
      await using half = await FakeDaemon.listen((socket) => void socket.write(reply(0, 'x'.repeat(100)).subarray(0, 50)))
      expect(await failure({ ...ADD, CNI_OFFLOAD_SOCKET: half.socketPath, CNI_OFFLOAD_TIMEOUT_MS: '300' })).toMatchObject({
        code: 11,
        msg: expect.stringContaining('did not answer'),
      })
      await using deaf = await FakeDaemon.listen(
        () => {},
        (socket) => void socket.pause(),
      )
      const big = JSON.stringify({ name: 'pods', x: 'x'.repeat(5_000_000) })
      expect(await failure({ ...ADD, CNI_OFFLOAD_SOCKET: deaf.socketPath, CNI_OFFLOAD_TIMEOUT_MS: '300' }, big)).toMatchObject({
        code: 11,
        msg: expect.stringContaining('did not answer'),
      })
    })

    it.each([
      ['before it reads', undefined, Buffer.alloc(0)],
      ['after it has read', Buffer.alloc(0), undefined],
      ['in the middle of the length', Buffer.of(0, 0), undefined],
      ['in the middle of the reply', Buffer.of(0, 0, 1, 0, 0, 0x7b), undefined],
    ])('notices that the daemon goes away %s', async (_when, answer, accept) => {
      await using daemon = await FakeDaemon.listen(
        (socket) => void socket.end(answer ?? ''),
        accept === undefined ? undefined : (socket) => void socket.destroy(),
      )
      const big = JSON.stringify({ name: 'pods', x: 'x'.repeat(accept === undefined ? 10 : 5_000_000) })
      const error = await failure({ ...ADD, CNI_OFFLOAD_SOCKET: daemon.socketPath }, big)
      expect(error).toMatchObject({ code: 11, msg: `the host daemon at ${daemon.socketPath} closed the connection before it had answered` })
      expect(await failure({ ...ADD, CNI_COMMAND: 'STATUS', CNI_OFFLOAD_SOCKET: daemon.socketPath })).toMatchObject({ code: 50 })
    })

    it.each([
      ['without a status', Buffer.of(0, 0, 0, 0)],
      ['of an absurd length', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')],
    ])('refuses a frame %s', async (_what, bytes) => {
      await using daemon = await FakeDaemon.listen((socket) => void socket.write(bytes))
      const error = await failure({ ...ADD, CNI_OFFLOAD_SOCKET: daemon.socketPath })
      expect(error).toMatchObject({ code: 11, msg: `the host daemon at ${daemon.socketPath} sent something that is not a reply` })
    })

    describe('that restarts', () => {
      const patient = (daemon: FakeDaemon, verb: string): Record<string, string> => ({
        ...ADD,
        CNI_COMMAND: verb,
        CNI_OFFLOAD_SOCKET: daemon.socketPath,
        CNI_OFFLOAD_CONNECT_MS: '30000',
      })

      it('waits for the socket', async () => {
        await using daemon = await FakeDaemon.listen((socket) => socket.end(reply(0, '{}')))
        renameSync(daemon.socketPath, `${daemon.socketPath}.away`)
        const outcome = run(patient(daemon, 'DEL'))
        await new Promise((resolve) => setTimeout(resolve, 200))
        renameSync(`${daemon.socketPath}.away`, daemon.socketPath)
        expect(await outcome).toMatchObject({ status: 0, stdout: '{}' })
        expect(daemon.requests.map(({ sinceMs }) => sinceMs)).toEqual([undefined])
      })

      it.each(['ADD', 'DEL', 'CHECK', 'GC', 'STATUS'])('sends %s again that got no answer, and says when it began', async (verb) => {
        await using daemon = await FakeDaemon.listen(
          (socket) => void (daemon.requests.length < 3 ? socket.end() : socket.end(reply(0, 'ok'))),
        )
        expect(await run(patient(daemon, verb))).toMatchObject({ status: 0, stdout: 'ok' })
        const [first, ...again] = daemon.requests
        expect(first?.sinceMs).toBeUndefined()
        expect(again).toHaveLength(2)
        for (const request of again) {
          expect(request.sinceMs).toBeGreaterThan(0)
          expect(request.deadlineMs).toBeLessThan(first!.deadlineMs)
          expect({ ...request, sinceMs: undefined, deadlineMs: 0 }).toEqual({ ...first, sinceMs: undefined, deadlineMs: 0 })
        }
      })

      it('gives up on a daemon that each time goes away', async () => {
        await using daemon = await FakeDaemon.listen((socket) => void socket.end())
        expect(await failure(patient(daemon, 'ADD'))).toMatchObject({ code: 11, msg: expect.stringContaining('closed the connection') })
        expect(daemon.requests).toHaveLength(4)
      })
    })

    it('survives that nobody reads its output', async () => {
      await using daemon = await FakeDaemon.listen((socket) => socket.end(reply(0, 'x'.repeat(1_000_000))))
      const { status, signal } = await collect(
        ['/bin/sh', '-c', 'exec "$0" "$@" >/dev/full', ...command()],
        { ...ADD, CNI_OFFLOAD_SOCKET: daemon.socketPath },
        CONF,
      )
      expect([status, signal]).toEqual([1, null])
    })

    it('closes the connection when it is killed, so that the daemon knows', async () => {
      const gone = Promise.withResolvers<void>()
      const asked = Promise.withResolvers<void>()
      await using daemon = await FakeDaemon.listen((socket) => {
        socket.on('close', gone.resolve)
        asked.resolve()
      })
      const [file, ...args] = command()
      const child = spawn(file!, args, { env: { ...ADD, CNI_OFFLOAD_SOCKET: daemon.socketPath }, stdio: ['pipe', 'ignore', 'ignore'] })
      child.stdin!.end(CONF)
      await asked.promise
      child.kill('SIGKILL')
      await gone.promise
      expect(daemon.requests).toHaveLength(1)
    })

    it('serves many callers at once', async () => {
      await using daemon = await FakeDaemon.listen((socket, { env }) => socket.end(reply(0, env['CNI_CONTAINERID']!)))
      const ids = Array.from({ length: build === 'compiled' ? 50 : 5 }, (_, at) => `c${at}`)
      const outcomes = await Promise.all(ids.map((id) => run({ ...ADD, CNI_CONTAINERID: id, CNI_OFFLOAD_SOCKET: daemon.socketPath })))
      expect(outcomes.map(({ stdout }) => stdout)).toEqual(ids)
    })
  })
})

describe('the compiled executable', () => {
  it('waits for a connection no longer than it may', async () => {
    // A listener that never accepts and whose queue is full: connecting blocks.
    const folder = mkdtempSync(join(tmpdir(), 'offload-shim-'))
    const path = join(folder, 'host.sock')
    const script = `const s = require('node:net').createServer().listen({ path: ${JSON.stringify(path)}, backlog: 1 }, () => { process.stdout.write('up'); process.kill(process.pid, 'SIGSTOP') })`
    const stopped = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
    await once(stopped.stdout, 'data')
    const env = { ...ADD, CNI_OFFLOAD_SOCKET: path, CNI_OFFLOAD_TIMEOUT_MS: '400' }
    const outcomes = await Promise.all(Array.from({ length: 6 }, () => collect([compiled], env, CONF)))
    stopped.kill('SIGKILL')
    await once(stopped, 'exit')
    rmSync(folder, { recursive: true })
    for (const { status, stdout } of outcomes) {
      expect(status).toBe(1)
      expect(JSON.parse(stdout)).toMatchObject({ code: 11, msg: expect.stringContaining('did not answer within 400 ms') })
    }
  })

  it('goes on after it was stopped and continued', async () => {
    const asked = Promise.withResolvers<Socket>()
    await using daemon = await FakeDaemon.listen((socket) => asked.resolve(socket))
    const child = spawn(compiled, { env: { ...ADD, CNI_OFFLOAD_SOCKET: daemon.socketPath }, stdio: ['pipe', 'pipe', 'inherit'] })
    child.stdin.end(CONF)
    const socket = await asked.promise
    await state(child.pid!, 'S')
    child.kill('SIGSTOP')
    await state(child.pid!, 'T')
    child.kill('SIGCONT')
    // Waiting again: the interrupted call has come back by then.
    await state(child.pid!, 'S')
    socket.end(reply(0, 'after'))
    expect(await text(child.stdout)).toBe('after')
  })
})
