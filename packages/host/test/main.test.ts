import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createOffloadServer, type OffloadServer } from '@cni-offload/protocol'
import { createAuthority, issueCertificate } from '@cni-offload/protocol/pki'
import { describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { eventually, HostLab } from './support/lab.ts'

const MAIN = fileURLToPath(new URL('../src/main.ts', import.meta.url))

interface Daemon extends AsyncDisposable {
  readonly child: ChildProcess
  readonly exited: Promise<number | NodeJS.Signals>
}

/** The daemon as a process of its own, in the host's namespace; resolves when it says that it is ready. */
async function startDaemon(lab: HostLab, config: string): Promise<Daemon> {
  const child = spawn('nsenter', [`--net=${lab.hostNetns.path}`, '--', process.execPath, MAIN, '--config', config], {
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], OFFLOAD_READY_FD: '3' },
  })
  let log = ''
  child.stderr!.on('data', (chunk: Buffer) => (log += chunk.toString()))
  const exited = once(child, 'exit').then(([code, signal]) => (signal ?? code) as number | NodeJS.Signals)
  const ready = once(child.stdio[3] as NodeJS.ReadableStream, 'data').then(([chunk]) => String(chunk))
  const first = await Promise.race([ready, exited])
  if (first !== 'ready\n') throw new Error(`the daemon ended with ${first}: ${log}`)
  return {
    child,
    exited,
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
      await exited
    },
  }
}

/** The fake agent behind real mTLS, on a unix socket because the daemon is in another network namespace. */
async function world(stack: AsyncDisposableStack): Promise<{ lab: HostLab; config: string; server: OffloadServer }> {
  const lab = stack.use(await HostLab.make())
  const pki = join(lab.dir, 'pki')
  await createAuthority({ dir: pki })
  const host = await issueCertificate({ authority: pki, role: 'host', node: lab.node, out: join(pki, 'host') })
  const agent = await issueCertificate({ authority: pki, role: 'agent', node: lab.node, out: join(pki, 'agent') })
  const server = stack.use(await createOffloadServer({ listen: `unix:${join(lab.dir, 'agent.sock')}`, tls: agent, api: lab.agent }))
  const config = join(lab.dir, 'host.yaml')
  const options = { device: 'soft0', vfs: lab.vfs, node: lab.node, dpuNetns: lab.dpuNetns.path }
  writeFileSync(
    config,
    stringify({
      node: lab.node,
      socket: 'host.sock',
      stateDir: 'state',
      agent: { address: server.address, tls: host },
      hardware: { plugin: '@cni-offload/hw-soft', export: 'softHost', options },
    }),
  )
  return { lab, config, server }
}

describe.skipIf(process.getuid?.() !== 0)(
  'offload-host as a process (needs root: makes network namespaces and links)',
  { timeout: 90_000 },
  () => {
    it('serves over mTLS, drains on SIGTERM and keeps its attachments', async () => {
      await using stack = new AsyncDisposableStack()
      const { lab, config } = await world(stack)
      await using pod = await lab.pod()
      const go = Promise.withResolvers<void>()
      const reached = Promise.withResolvers<void>()
      {
        await using daemon = await startDaemon(lab, config)
        lab.agent.afterAttach = () => (reached.resolve(), go.promise)
        const add = lab.call('ADD', pod)
        await reached.promise
        daemon.child.kill('SIGTERM')
        await eventually(() => !existsSync(lab.socket), 'it takes no more requests')
        go.resolve()
        expect((await add).exitCode).toBe(0)
        expect(await daemon.exited).toBe(0)
      }
      expect(await lab.net.link(pod.path, 'eth0')).toMatchObject({ up: true })
      await using _daemon = await startDaemon(lab, config)
      expect((await lab.call('DEL', pod)).exitCode).toBe(0)
      expect(await lab.remains()).toEqual([])
    })

    it('undoes, at its next start, what it was killed in', async () => {
      await using stack = new AsyncDisposableStack()
      const { lab, config } = await world(stack)
      await using pod = await lab.pod()
      {
        await using daemon = await startDaemon(lab, config)
        lab.agent.afterAttach = (_call, { signal }) =>
          new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
        const add = lab.call('ADD', pod).catch(() => 'gone')
        await eventually(
          async () => (await lab.net.link(pod.path, 'eth0')) !== undefined && lab.agent.attachments.size === 1,
          'the VF is in the pod and attached',
        )
        daemon.child.kill('SIGKILL')
        expect(await daemon.exited).toBe('SIGKILL')
        await add
      }
      lab.agent.afterAttach = () => {}
      await using _daemon = await startDaemon(lab, config)
      expect(await lab.net.link(pod.path, 'eth0')).toBeUndefined()
      await eventually(async () => (await lab.remains()).length === 0, 'the agent has confirmed as well')
      expect((await lab.call('ADD', pod)).exitCode).toBe(0)
      await lab.call('DEL', pod)
    })
  },
)

describe('offload-host', { timeout: 90_000 }, () => {
  const run = async (...argv: string[]): Promise<{ code: number; out: string; err: string }> => {
    const child = spawn(process.execPath, [MAIN, ...argv], { stdio: ['ignore', 'pipe', 'pipe'] })
    let [out, err] = ['', '']
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()))
    const [code] = (await once(child, 'close')) as [number]
    return { code, out, err }
  }

  it('explains itself', async () => {
    const [help, none, nonsense, missing] = await Promise.all([run('--help'), run(), run('--nonsense'), run('--config', '/no/such.yaml')])
    expect(help).toMatchObject({ code: 0, out: expect.stringContaining('usage: offload-host --config FILE') })
    expect(none).toMatchObject({ code: 2, err: expect.stringContaining('--config FILE is missing') })
    expect(nonsense).toMatchObject({ code: 2, err: expect.stringContaining('--nonsense') })
    expect(missing).toMatchObject({ code: 2, err: expect.stringContaining('/no/such.yaml cannot be read') })
  })
})
