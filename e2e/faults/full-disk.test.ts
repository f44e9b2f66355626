import { TinyDisk } from '@cni-offload/testing/faults'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { needsRoot } from '../fixture.ts'
import { NodeInProcess } from './node-in-process.ts'

const LIMIT = { timeout: 60_000, interval: 50 }

describe.skipIf(needsRoot).each(['host', 'agent'] as const)('the disk of the %s is full (needs root for namespaces)', (side) => {
  let disk: TinyDisk
  let node: NodeInProcess

  beforeAll(async () => {
    disk = await TinyDisk.mount()
    node = await NodeInProcess.up({ [`${side}State`]: disk.path })
  })
  afterEach(async () => {
    disk.free()
    await expect.poll(() => node.remains(), LIMIT).toEqual([])
  })
  afterAll(async () => {
    await node?.[Symbol.asyncDispose]()
    await disk?.[Symbol.asyncDispose]()
  })

  test.runIf(side === 'host')(
    'ADD fails and leaves nothing, DEL fails and can be repeated, running pods go on, with space all is well',
    async () => {
      await using running = await node.pod('running')
      await using ending = await node.pod('ending')
      await using late = await node.pod('late')
      for (const pod of [running, ending]) expect(await node.call('ADD', pod)).toMatchObject({ exitCode: 0 })
      const [addresses, before] = [await node.net.addresses(running.path, 'eth0'), await node.remains()]
      disk.fill()
      const refused = await node.call('ADD', late)
      expect(refused).toMatchObject({ exitCode: 1, json: { code: 104 } })
      expect(refused.json['details']).toContain('disk is full')
      expect(await node.remains()).toEqual(before)
      expect(await node.call('DEL', ending)).toMatchObject({ exitCode: 1, json: { code: 104 } })
      expect(await node.remains()).toEqual(before)
      await node.resyncs(2)
      expect(await node.net.addresses(running.path, 'eth0')).toEqual(addresses)
      disk.free()
      expect(await node.call('DEL', ending)).toMatchObject({ exitCode: 0 })
      expect(await node.call('ADD', late)).toMatchObject({ exitCode: 0 })
      for (const pod of [running, late]) expect(await node.call('DEL', pod)).toMatchObject({ exitCode: 0 })
    },
  )

  test.runIf(side === 'agent')('ADD fails and leaves nothing, DEL succeeds and is finished when there is space again', async () => {
    await using running = await node.pod('running')
    await using ending = await node.pod('ending')
    await using late = await node.pod('late')
    for (const pod of [running, ending]) expect(await node.call('ADD', pod)).toMatchObject({ exitCode: 0 })
    const [addresses, before] = [await node.net.addresses(running.path, 'eth0'), await node.remains()]
    disk.fill()
    expect(await node.call('ADD', late)).toMatchObject({ exitCode: 1, json: { code: 104 } })
    await expect.poll(() => node.remains(), LIMIT).toEqual(before)
    expect(await node.call('DEL', ending)).toMatchObject({ exitCode: 0 })
    expect((await node.inspect()).queue).toHaveLength(1)
    expect(await node.net.addresses(running.path, 'eth0')).toEqual(addresses)
    disk.free()
    await expect.poll(async () => (await node.inspect()).queue, LIMIT).toEqual([])
    expect(await node.call('ADD', late)).toMatchObject({ exitCode: 0 })
    for (const pod of [running, late]) expect(await node.call('DEL', pod)).toMatchObject({ exitCode: 0 })
  })

  const steps = {
    host: ['host.add.leased', 'host.add.answered', 'host.add.configured'],
    agent: [
      'agent.attach.noted',
      'agent.attach.connected',
      'hello.attach.address-leased',
      'agent.detach.noted',
      'hello.detach.port-unplugged',
      'agent.detach.disconnected',
    ],
  }[side]

  test.each(steps)('from %s on: what is begun then is ended by the DEL that follows', async (step) => {
    await using pod = await node.pod('p')
    const verb = step.includes('detach') ? 'DEL' : 'ADD'
    if (verb === 'DEL') expect(await node.call('ADD', pod)).toMatchObject({ exitCode: 0 })
    const outcome = await node.whenReached(
      step,
      () => disk.fill(),
      () => node.call(verb, pod),
    )
    expect(outcome).toMatchObject(verb === 'DEL' ? { exitCode: 0 } : { exitCode: 1, json: { code: 104 } })
    disk.free()
    expect(await node.call('DEL', pod)).toMatchObject({ exitCode: 0 })
  })
})
