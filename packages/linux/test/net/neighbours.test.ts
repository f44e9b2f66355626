import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createLinuxNet, type LinuxNet } from '../../src/index.ts'

describe.skipIf(process.getuid?.() !== 0)('LinuxNet.neighbours (needs root for network namespaces)', () => {
  const name = `nb${process.pid}`
  let net: LinuxNet
  let netns: string
  beforeAll(async () => {
    net = createLinuxNet()
    netns = await net.createNetns(name)
    await net.apply(netns, [
      { op: 'link.add-veth', dev: 'a', peer: { name: 'b' } },
      { op: 'link.set', dev: 'a', up: true },
    ])
  })
  afterAll(async () => {
    await net.deleteNetns(name)
    await net[Symbol.asyncDispose]()
  })

  it('gives the permanent entries of the link and of no other, both families', async () => {
    const entries = [
      { ip: '10.9.0.1', mac: '02:00:00:00:00:09' },
      { ip: 'fd00::1', mac: '02:00:00:00:00:0a' },
    ]
    await net.apply(
      netns,
      entries.map((entry) => ({ op: 'neigh.add' as const, dev: 'a', ...entry })),
    )
    expect(await net.neighbours(netns, 'a')).toEqual(entries)
    expect(await net.neighbours(netns, 'b')).toEqual([])
    const gone = { op: 'neigh.del', dev: 'a', ip: '10.9.0.1' } as const
    await net.apply(netns, [gone, gone])
    expect(await net.neighbours(netns, 'a')).toEqual(entries.slice(1))
  })

  it('rejects with NOT_FOUND for a missing link', async () => {
    await expect(net.neighbours(netns, 'nope')).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })
})
