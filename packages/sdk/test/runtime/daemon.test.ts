import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const PROGRAM = fileURLToPath(new URL('support/daemon-program.ts', import.meta.url))

interface Ended {
  readonly status: number | NodeJS.Signals
  readonly out: string
  readonly err: string
}

interface Started extends AsyncDisposable {
  readonly child: ChildProcess
  /** What the daemon wrote to the descriptor of its readiness until it closed it. */
  readonly ready: Promise<string>
  readonly ended: Promise<Ended>
}

const start = (args: readonly string[], env: Record<string, string> = { OFFLOAD_READY_FD: '3' }): Started => {
  const child = spawn(process.execPath, [PROGRAM, ...args], {
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], NODE_NO_WARNINGS: '1', ...env },
  })
  const [out, err, ready] = [child.stdout!, child.stderr!, child.stdio[3] as NodeJS.ReadableStream].map((stream) => text(stream))
  const closed = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>
  const ended = Promise.all([closed, out!, err!]).then(([[code, signal], stdout, stderr]) => ({
    status: signal ?? code ?? -1,
    out: stdout,
    err: stderr,
  }))
  return {
    child,
    ready: ready!,
    ended,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await ended
    },
  }
}

const run = async (...args: string[]): Promise<Ended> => {
  await using daemon = start(args)
  return await daemon.ended
}

describe('runDaemon', { timeout: 60_000 }, () => {
  it.each(['SIGTERM', 'SIGINT'] as const)(
    'says when it is ready, drains at %s and ends with 0, whatever is left behind',
    async (signal) => {
      await using daemon = start(['--config', 'orderly'])
      expect(await daemon.ready).toBe('ready\n')
      daemon.child.kill(signal)
      expect(await daemon.ended).toEqual({ status: 0, out: `serving\ndrained: test-daemon was told to stop (${signal})\n`, err: '' })
    },
  )

  it('ends at once with 1 at a second signal', async () => {
    await using daemon = start(['--config', 'stuck'])
    await daemon.ready
    daemon.child.kill('SIGTERM')
    await once(daemon.child.stdout!, 'data')
    daemon.child.kill('SIGINT')
    expect(await daemon.ended).toMatchObject({ status: 1, err: '' })
  })

  it.each([{}, { OFFLOAD_READY_FD: '1' }, { OFFLOAD_READY_FD: '99' }, { OFFLOAD_READY_FD: 'three' }])(
    'serves all the same with %j',
    async (env) => {
      await using daemon = start(['--config', 'orderly'], env)
      await once(daemon.child.stdout!, 'data')
      daemon.child.kill('SIGTERM')
      // Nothing was written to a standard stream, nor to a descriptor that nobody named.
      expect(await daemon.ended).toEqual({ status: 0, out: expect.stringMatching(/^serving\ndrained: .*\n$/), err: '' })
      expect(await daemon.ready).toBe('')
    },
  )

  it('tells failure, causes that were not told yet, and remedy, and is never ready', async () => {
    await using daemon = start(['--config', 'broken'])
    expect(await daemon.ended).toEqual({
      status: 1,
      out: '',
      err: 'test-daemon: the card does not answer: no link\n  because: cable is out\n  Plug it in.\n',
    })
    expect(await daemon.ready).toBe('')
  })

  it('tells what failed first and what failed while it was being cleaned up', async () => {
    expect(await run('--config', 'broken twice')).toMatchObject({
      status: 2,
      err: 'test-daemon: it does not start\ntest-daemon: nor does it stop\n',
    })
  })

  it('ends with 2 where arguments or configuration are wrong', async () => {
    const [none, unknown, incomplete, config] = await Promise.all([run(), run('--nonsense'), run('--config'), run('--config', 'x.yaml')])
    expect(none).toEqual({ status: 2, out: '', err: 'test-daemon: --config FILE is missing\n  Try test-daemon --help.\n' })
    expect(unknown).toMatchObject({ status: 2, err: expect.stringMatching(/--nonsense[^]*\n {2}Try test-daemon --help\.\n$/) })
    expect(incomplete).toMatchObject({ status: 2, err: expect.stringContaining('--config') })
    expect(config).toEqual({ status: 2, out: '', err: 'test-daemon: x.yaml: no such daemon\n' })
  })

  it('explains itself', async () => {
    const { status, out, err } = await run('--help')
    expect({ status, err }).toEqual({ status: 0, err: '' })
    expect(out).toContain('usage: test-daemon --config FILE\n\nDoes what its configuration is called.\n')
  })
})
