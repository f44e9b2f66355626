import { createLinuxNet } from '@cni-offload/linux'
import { type LogFields, type Logger, type OpContext, silentLogger, systemClock } from '@cni-offload/sdk'
import { isRoot, ROOT_REASON, TestNetns } from '@cni-offload/testing'
import { afterAll, describe, expect, it } from 'vitest'
import { SoftDpu, softDpu } from '../src/index.ts'
import { softCard } from './soft-card.ts'

const ctx = (): OpContext => ({ signal: AbortSignal.timeout(20_000), log: silentLogger })
const soon = (): AbortSignal => AbortSignal.timeout(20_000)

describe.skipIf(!isRoot())(`the DPU half of the software card (${ROOT_REASON})`, () => {
  const net = createLinuxNet()
  afterAll(() => net[Symbol.asyncDispose]())

  it('works as a plugin', async () => {
    await using soft = await softCard(net, 2)
    const dpu = await softDpu({ vfs: 2, netns: soft.dpuNetns.path }).create({
      log: silentLogger,
      clock: systemClock,
      stateDir: '/nonexistent',
    })
    await dpu.start(soon())
    expect(await dpu.ports(ctx())).toEqual([0, 1].map((index) => ({ vf: { device: 'soft0', index }, name: `soft0p${index}` })))
    await dpu[Symbol.asyncDispose]?.()
  })

  it('has no ports before it is started', async () => {
    await using soft = await softCard(net, 1)
    const dpu = new SoftDpu({ net, log: silentLogger, device: 'soft0', vfs: 1, netns: soft.dpuNetns.path })
    await expect(dpu.port({ device: 'soft0', index: 0 }, ctx())).rejects.toMatchObject({
      code: 'HARDWARE_FAILURE',
      hint: expect.stringContaining('start'),
    })
  })

  it('refuses to start where no card is plugged in', async () => {
    await using empty = await TestNetns.create(net, 'swe')
    const dpu = new SoftDpu({ net, log: silentLogger, device: 'none0', vfs: 2, netns: empty.path })
    await expect(dpu.start(soon())).rejects.toMatchObject({
      code: 'HARDWARE_FAILURE',
      message: expect.stringContaining('none0p0'),
      hint: expect.stringContaining('plug'),
    })
  })

  it('refuses to start when something else has the name of a port', async () => {
    await using soft = await softCard(net, 2)
    await net.apply(soft.dpuNetns.path, [
      { op: 'link.del', dev: 'soft0p1' },
      { op: 'link.add-bridge', dev: 'soft0p1' },
    ])
    await expect(soft.dpu.start(soon())).rejects.toMatchObject({ code: 'HARDWARE_FAILURE', message: expect.stringContaining('soft0p1') })
  })

  it('starts when a port is held in a proxy namespace, and when one is missing, which it logs', async () => {
    await using soft = await softCard(net, 3)
    await using proxy = await TestNetns.create(net, 'swx')
    await net.apply(soft.dpuNetns.path, [
      { op: 'link.move', dev: 'soft0p0', netns: proxy.path, name: 'vf0' },
      { op: 'link.del', dev: 'soft0p2' },
    ])
    const warnings: LogFields[] = []
    const log: Logger = { ...silentLogger, warn: (fields) => void warnings.push(fields) }
    const dpu = new SoftDpu({ net, log, device: 'soft0', vfs: 3, node: soft.card.node, netns: soft.dpuNetns.path })
    await dpu.start(soon())
    expect((await dpu.ports(ctx())).length).toBe(3)
    expect(warnings.map((fields) => fields['device'])).toEqual(['soft0'])
  })

  it('starts when a port has no note yet, since the host was killed while it plugged the function in', async () => {
    await using soft = await softCard(net, 2)
    await net.apply(soft.dpuNetns.path, [{ op: 'link.set', dev: 'soft0p1', alias: '' }])
    await soft.dpu.start(AbortSignal.timeout(20_000))
    expect(await soft.dpu.port({ device: 'soft0', index: 1 }, ctx())).toMatchObject({ name: 'soft0p1' })
  })

  it('does not take the ports of another node for its own, if it is told its node', async () => {
    await using soft = await softCard(net, 1)
    const dpu = (node: string) => new SoftDpu({ net, log: silentLogger, device: 'soft0', vfs: 1, node, netns: soft.dpuNetns.path })
    await dpu(soft.card.node).start(soon())
    await expect(dpu('another-node').start(soon())).rejects.toMatchObject({
      code: 'HARDWARE_FAILURE',
      message: expect.stringContaining('soft0p0'),
    })
  })

  it('does not start with an aborted signal', async () => {
    await using soft = await softCard(net, 1)
    await expect(soft.dpu.start(AbortSignal.abort())).rejects.toMatchObject({ code: 'CANCELLED' })
  })
})
