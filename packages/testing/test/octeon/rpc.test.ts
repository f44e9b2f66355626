import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createLinuxNet } from '@cni-offload/linux'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { isRoot, ROOT_REASON, TestNetns } from '../../src/index.ts'
import { connectFakeOcteonCard, connectFakeOcteonMachine, FakeOcteonCard, serveFakeOcteonCard } from '../../src/octeon/index.ts'
import { PF, refused } from './support.ts'

describe('a fake card in another process', { timeout: 120_000 }, () => {
  let folder: string
  beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'octeon-rpc-'))))
  afterAll(() => rm(folder, { recursive: true, force: true }))

  it('has machines that answer and refuse as its own', async () => {
    const socket = join(folder, 'a.sock')
    await using card = await FakeOcteonCard.create()
    await using _server = await serveFakeOcteonCard(card, socket)
    await using host = await connectFakeOcteonMachine(socket, 'host')
    await using dpu = await connectFakeOcteonMachine(socket, 'dpu')
    expect(await host.read(`${PF}/sriov_numvfs`)).toBe('8\n')
    expect(await host.readlink(`${PF}/virtfn3`)).toBe('../0000:01:02.3')
    await refused(host.write(`${PF}/sriov_numvfs`, '4'), 'EBUSY')
    await expect(host.read('/none')).rejects.toMatchObject({ code: 'ENOENT', syscall: 'open', path: '/none' })
    await dpu.place('/etc/a', 'text', 0o600)
    expect([await dpu.read('/etc/a'), await card.dpu.read('/etc/a')]).toEqual(['text', 'text'])
    await dpu.place('/etc/b', 'other')
    expect(await card.dpu.read('/etc/b')).toBe('other')
    await dpu.remove('/etc/a')
    expect(await card.dpu.list('/etc')).not.toContain('a')
    expect(await dpu.run(['uname', '-m'], AbortSignal.timeout(60_000))).toEqual({
      exitCode: 0,
      exitSignal: null,
      stdout: 'aarch64\n',
      stderr: '',
    })
    await expect(dpu.run(['lspci'], AbortSignal.timeout(60_000))).rejects.toMatchObject({ code: 'ENOENT' })
    await using remote = await connectFakeOcteonCard(socket)
    await remote.advanceCrypto(9)
    expect(card.cpt.counts.instructions).toBe(80n)
    let resets = 0
    using _listening = card.control.onPerst(() => void (resets += 1))
    await remote.perst()
    expect(resets).toBe(1)
  })

  it('takes commands back that were aborted', async () => {
    const socket = join(folder, 'b.sock')
    await using card = await FakeOcteonCard.create()
    await using _server = await serveFakeOcteonCard(card, socket)
    await using host = await connectFakeOcteonMachine(socket, 'host')
    const { promise, resolve } = Promise.withResolvers<void>()
    const begun = Promise.withResolvers<void>()
    card.host.install('hang', async (_args, signal) => {
      signal.addEventListener('abort', () => resolve(), { once: true })
      begun.resolve()
      return await new Promise<never>(() => {})
    })
    const end = new AbortController()
    const running = host.run(['hang'], end.signal)
    running.catch(() => {})
    await begun.promise
    end.abort(new Error('enough'))
    await expect(running).rejects.toThrow('enough')
    await promise
  })

  it('is lost with its process, and cuts off who talks nonsense', async () => {
    const socket = join(folder, 'c.sock')
    await using card = await FakeOcteonCard.create()
    const server = await serveFakeOcteonCard(card, socket)
    const stranger = connect(socket)
    stranger.write('GET / HTTP/1.1\n')
    await once(stranger, 'close')
    const host = await connectFakeOcteonMachine(socket, 'host')
    expect(await host.list('/sys/module/octeon_ep/drivers')).toEqual(['pci:octeon_ep'])
    await server[Symbol.asyncDispose]()
    await expect(host.read(`${PF}/vendor`)).rejects.toMatchObject({ code: 'AGENT_UNREACHABLE' })
    await host[Symbol.asyncDispose]()
    await refused(connectFakeOcteonMachine(socket, 'host'), 'ENOENT')
  })

  it.skipIf(!isRoot())(`is a program, too (${ROOT_REASON})`, async () => {
    await using net = createLinuxNet()
    await using host = await TestNetns.create(net, 'oh')
    await using dpu = await TestNetns.create(net, 'od')
    const socket = join(folder, 'd.sock')
    const config = join(folder, 'card.yaml')
    await writeFile(config, `socket: ${socket}\nhostNetns: ${host.path}\ndpuNetns: ${dpu.path}\nvfs: 2\nlayout: sdp\n`)
    const main = fileURLToPath(import.meta.resolve('@cni-offload/testing/octeon/main'))
    const child = spawn(process.execPath, [main, '--config', config], {
      stdio: ['ignore', 'inherit', 'inherit', 'pipe'],
      env: { ...process.env, OFFLOAD_READY_FD: '3' },
    })
    const ended = once(child, 'exit')
    try {
      await once(child.stdio[3]!, 'data')
      await using machine = await connectFakeOcteonMachine(socket, 'dpu')
      expect(await machine.list('/sys/bus/pci/devices/0002:0f:00.1/net')).toEqual(['enP2p15s0v0'])
      expect(await net.link(host.path, 'enp1s0v1')).toBeDefined()
    } finally {
      child.kill('SIGTERM')
      expect(await ended).toEqual([0, null])
    }
    expect((await net.links(host.path)).map(({ name }) => name)).toEqual(['lo'])
  })
})
