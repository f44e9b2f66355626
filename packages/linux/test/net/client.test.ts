import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { OffloadError } from '@cni-offload/sdk'
import { createLinuxNet, type NetnsPath, type NetOp, OWN_NETNS } from '../../src/index.ts'
import { LinuxNetClient } from '../../src/net/client.ts'
import { TestNet, unprivileged } from '../support.ts'

const realWorker = (): Worker => new Worker(new URL('../../src/net/worker.ts', import.meta.url), { execArgv: [], trackUnmanagedFds: false })
const worker = (code: string): Worker => new Worker(`const { parentPort } = require('node:worker_threads'); ${code}`, { eval: true })

describe('the network thread', () => {
  test('that crashes ends what was in flight; the next call gets a new one', async () => {
    const starts = [() => worker(`parentPort.on('message', () => { throw new Error('boom') })`), realWorker]
    await using net = new LinuxNetClient(() => starts.shift()!())
    const [lost, next] = await Promise.allSettled([net.links(OWN_NETNS), net.links(OWN_NETNS)])
    expect(lost).toMatchObject({
      status: 'rejected',
      reason: { code: 'INTERNAL', message: expect.stringContaining('boom'), cause: expect.any(Error) },
    })
    expect(next.status).toBe('fulfilled')
    expect(starts).toHaveLength(0)
  })

  test('that exits without an error is replaced too', async () => {
    const starts = [() => worker(`parentPort.on('message', () => process.exit(3))`), realWorker]
    await using net = new LinuxNetClient(() => starts.shift()!())
    await expect(net.links(OWN_NETNS)).rejects.toMatchObject({ code: 'INTERNAL', message: expect.stringContaining('exited with code 3') })
    expect(await net.link(OWN_NETNS, 'lo')).toMatchObject({ name: 'lo' })
  })

  test('never has more than one request in flight', async () => {
    const count = `let running = 0; parentPort.on('message', (order) => {
      if (order === 'close') return parentPort.close()
      running++
      setImmediate(() => { parentPort.postMessage({ id: order.id, ok: true, result: running--}) })
    })`
    await using net = new LinuxNetClient(() => worker(count))
    const results = await Promise.all(Array.from({ length: 20 }, () => net.links(OWN_NETNS)))
    expect(new Set(results as unknown as number[])).toEqual(new Set([1]))
  })

  test('finishes the request in flight when disposed; waiting and later ones are cancelled', async () => {
    const net = new LinuxNetClient(realWorker)
    const outcomes = Promise.allSettled([net.links(OWN_NETNS), net.links(OWN_NETNS), net.links(OWN_NETNS)])
    await Promise.all([net[Symbol.asyncDispose](), net[Symbol.asyncDispose]()])
    const [first, ...others] = await outcomes
    expect(first?.status).toBe('fulfilled')
    for (const other of others) expect(other).toMatchObject({ status: 'rejected', reason: { code: 'CANCELLED' } })
    await expect(net.links(OWN_NETNS)).rejects.toMatchObject({ code: 'CANCELLED' })
  })

  test('that cannot be started or told something fails that call only', async () => {
    const refuse = (): Worker => {
      throw new Error('no threads left')
    }
    const starts = [refuse, realWorker]
    await using net = new LinuxNetClient(() => starts.shift()!())
    const uncloneable = [{ op: 'link.set', dev: () => 'x' } as unknown as NetOp]
    const calls = [net.links(OWN_NETNS), net.apply(OWN_NETNS, uncloneable), net.links(OWN_NETNS)]
    const [unstarted, untold, fine] = await Promise.allSettled(calls)
    expect(unstarted).toMatchObject({
      status: 'rejected',
      reason: { code: 'INTERNAL', message: expect.stringContaining('no threads left') },
    })
    expect(untold).toMatchObject({
      status: 'rejected',
      reason: { code: 'INTERNAL', message: expect.stringContaining('apply could not be handed') },
    })
    expect(fine?.status).toBe('fulfilled')
  })

  test('is not started for nothing', async () => {
    const net = new LinuxNetClient(() => {
      throw new Error('started')
    })
    await net[Symbol.asyncDispose]()
  })

  test('does not keep the process alive while it is idle', () => {
    const fixture = fileURLToPath(new URL('../fixtures/uses-and-ends.ts', import.meta.url))
    const { status, stdout, stderr } = spawnSync(process.execPath, [fixture], { encoding: 'utf8', timeout: 20_000 })
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout.split(' ')).toContain('lo')
  })

  test('sends errors as OffloadErrors with code and hint', async () => {
    await using net = createLinuxNet()
    const error = await net.links('/nowhere').catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(OffloadError)
    expect(error).toMatchObject({ code: 'NOT_FOUND', message: 'network namespace /nowhere does not exist (ENOENT)' })
  })

  test('without rights says which are needed', () => {
    const script = `
      import { createLinuxNet, OWN_NETNS } from ${JSON.stringify(new URL('../../src/index.ts', import.meta.url).href)}
      await createLinuxNet().apply(OWN_NETNS, [{ op: 'link.add-bridge', dev: 'never' }]).catch(({ code, message, hint }) => console.log(JSON.stringify({ code, message, hint })))`
    const nobody = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {}
    const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8', timeout: 20_000, ...nobody })
    expect(JSON.parse(stdout)).toMatchObject({
      code: 'KERNEL_REFUSED',
      message: expect.stringContaining('link.add-bridge in /proc/self/ns/net: never: EPERM'),
      hint: expect.stringContaining('CAP_NET_ADMIN'),
    })
  })
})

describe.skipIf(unprivileged)('many calls at once (needs root for network namespaces)', () => {
  let lab: TestNet
  let a: NetnsPath
  let b: NetnsPath

  beforeEach(async () => {
    lab = new TestNet()
    ;[a, b] = await Promise.all([lab.netns(), lab.netns()])
    await lab.apply(a, { op: 'link.add-veth', dev: 'v0', peer: { name: 'v1' } })
  })
  afterEach(() => lab[Symbol.asyncDispose]())

  test('are all done', async () => {
    const addresses = Array.from({ length: 64 }, (_, index) => `10.0.${index}.1/24`)
    await Promise.all(addresses.map((address) => lab.apply(a, { op: 'addr.add', dev: 'v0', address })))
    expect((await lab.net.addresses(a, 'v0')).toSorted()).toEqual(addresses.toSorted())
  })

  test('overtake waiting moves', async () => {
    const order: string[] = []
    const moves = Array.from({ length: 4 }, (_, index): [NetnsPath, NetOp] =>
      index % 2 === 0
        ? [a, { op: 'link.move', dev: 'v0', netns: b, name: 'v0' }]
        : [b, { op: 'link.move', dev: 'v0', netns: a, name: 'v0' }],
    )
    await Promise.all([
      ...moves.map(async ([netns, op], index) => {
        await lab.apply(netns, op)
        order.push(`move ${index}`)
      }),
      lab.net.link(a, 'v1').then(() => order.push('look')),
    ])
    expect(order).toEqual(['move 0', 'look', 'move 1', 'move 2', 'move 3'])
  })

  test('leave the event loop free while the kernel moves a link', async () => {
    let ticks = 0
    let moving = true
    const tick = (): void => {
      ticks++
      if (moving) setImmediate(tick)
    }
    setImmediate(tick)
    await lab.apply(a, { op: 'link.move', dev: 'v0', netns: b, name: 'eth0' })
    moving = false
    // A thread blocked by the move would see one tick before and one after it.
    expect(ticks).toBeGreaterThan(20)
  })
})
