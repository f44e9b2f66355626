import { createLinuxNet, OWN_NETNS } from '@cni-offload/linux'
import { isRoot, ping, ROOT_REASON, TestNetns } from '@cni-offload/testing'
import { cutLink } from '@cni-offload/testing/faults'
import { describe, expect, it } from 'vitest'

describe.skipIf(!isRoot())(`cutLink (${ROOT_REASON})`, () => {
  it('drops what goes in, out or both, until it is disposed, and touches no other namespace', async () => {
    await using net = createLinuxNet()
    await using left = await TestNetns.create(net, 'cutl')
    await using right = await TestNetns.create(net, 'cutr')
    await net.apply(left.path, [
      { op: 'link.add-veth', dev: 'v0', peer: { name: 'v0', netns: right.path } },
      { op: 'addr.add', dev: 'v0', address: '10.9.9.1/24' },
      { op: 'link.set', dev: 'v0', up: true },
    ])
    await net.apply(right.path, [
      { op: 'addr.add', dev: 'v0', address: '10.9.9.2/24' },
      { op: 'link.set', dev: 'v0', up: true },
    ])
    const answers = async (): Promise<number> => (await ping(left.path, '10.9.9.2', { count: 1, waitMs: 300 })).received
    await expect.poll(answers, { timeout: 15_000 }).toBe(1)
    for (const direction of ['in', 'out', 'both'] as const) {
      {
        await using _cut = await cutLink(net, { netns: left.path, dev: 'v0', direction })
        expect(await answers(), direction).toBe(0)
        expect(await net.link(left.path, 'v0')).toMatchObject({ up: true })
        const rules = await left.output(['nft', 'list', 'ruleset'])
        expect(['ingress', 'egress'].filter((hook) => rules.includes(hook))).toEqual(
          { in: ['ingress'], out: ['egress'], both: ['ingress', 'egress'] }[direction],
        )
        expect(await right.output(['nft', 'list', 'ruleset'])).toBe('')
      }
      await expect.poll(answers, { timeout: 15_000 }).toBe(1)
    }
    expect(await left.output(['nft', 'list', 'ruleset'])).toBe('')
  })

  it('refuses the namespace of the process itself, and a link that is not there', async () => {
    await using net = createLinuxNet()
    await expect(cutLink(net, { netns: OWN_NETNS, dev: 'lo' })).rejects.toMatchObject({ code: 'INVALID_ENVIRONMENT' })
    await using netns = await TestNetns.create(net, 'cut')
    await expect(cutLink(net, { netns: netns.path, dev: 'nothing' })).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })
})
