import { execFileSync } from 'node:child_process'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { Assembler, type BpfProgram, CONTEXT, HELPER, VERDICT } from '../../src/bpf/index.ts'
import type { NetnsPath, NetOp } from '../../src/index.ts'
import { pings, run, TestNet, unprivileged } from '../support.ts'

const answer = (verdict: number): BpfProgram => new Assembler().compute('mov', 0, verdict).exit().assemble()
const [pass, drop] = [answer(VERDICT.pass), answer(VERDICT.drop)]

/** Puts a VLAN on what goes in, or takes it from what comes out. */
const tag = (vlan: number): BpfProgram =>
  new Assembler().compute('mov', 2, 0x0081).compute('mov', 3, vlan).call(HELPER.vlanPush).compute('mov', 0, VERDICT.pass).exit().assemble()
const untag = (vlan: number): BpfProgram => {
  const assembler = new Assembler()
  const refuse = assembler.label('refuse')
  return assembler
    .load(4, 2, 1, CONTEXT.vlanTci)
    .jumpIf(2, '!=', vlan, refuse)
    .call(HELPER.vlanPop)
    .compute('mov', 0, VERDICT.pass)
    .exit()
    .place(refuse)
    .compute('mov', 0, VERDICT.drop)
    .exit()
    .assemble()
}

/** Passes so many frames, and then none. */
const atMost = (frames: number): BpfProgram => {
  const assembler = new Assembler()
  const refuse = assembler.label('refuse')
  return assembler
    .storeConstant(4, 10, -4, 0)
    .map(1, { bytes: 8 })
    .compute('mov', 2, { register: 10 })
    .compute('add', 2, -4)
    .call(HELPER.mapLookup)
    .jumpIf(0, '==', 0, refuse)
    .load(8, 1, 0, 0)
    .jumpIf(1, '>=', frames, refuse)
    .compute('add', 1, 1)
    .store(8, 0, 0, 1)
    .compute('mov', 0, VERDICT.pass)
    .exit()
    .place(refuse)
    .compute('mov', 0, VERDICT.drop)
    .exit()
    .assemble()
}

describe.skipIf(unprivileged)('programs of links (needs root for network namespaces)', () => {
  let lab: TestNet
  let one: NetnsPath
  let other: NetnsPath

  beforeAll(() => {
    lab = new TestNet()
  })
  beforeEach(async () => {
    ;[one, other] = await Promise.all([lab.netns(), lab.netns()])
    await lab.apply(one, {
      op: 'link.add-veth',
      dev: 'eth0',
      mac: '02:00:00:00:00:01',
      peer: { name: 'eth0', netns: other, mac: '02:00:00:00:00:02' },
    })
    for (const [netns, host, peer] of [
      [one, 1, 2],
      [other, 2, 1],
    ] as const) {
      await lab.apply(
        netns,
        { op: 'link.set', dev: 'eth0', up: true },
        { op: 'sysctl', key: 'net.ipv6.conf.eth0.disable_ipv6', value: '1' },
        { op: 'addr.add', dev: 'eth0', address: `10.8.0.${host}/24` },
        { op: 'neigh.add', dev: 'eth0', ip: `10.8.0.${peer}`, mac: `02:00:00:00:00:0${peer}` },
      )
    }
  })
  afterAll(() => lab[Symbol.asyncDispose]())

  const set = (hook: 'ingress' | 'egress', name: string, program: BpfProgram): NetOp => ({
    op: 'program.set',
    dev: 'eth0',
    hook,
    name,
    program,
  })
  const pingOnce = (count = 1): number =>
    Number(/(\d+) received/.exec(run(one, 'ping', '-c', String(count), '-i', '0.05', '-W', '1', '10.8.0.2').output)?.[1])

  test('decide on both hooks, one takes the place of the other, and are read back', async () => {
    expect(await lab.net.programs(other, 'eth0')).toEqual([])
    await lab.apply(other, set('ingress', 'no', drop))
    expect(pingOnce()).toBe(0)
    await lab.apply(other, set('ingress', 'yes', pass), set('egress', 'no', drop))
    expect(pingOnce()).toBe(0)
    await lab.apply(other, set('egress', 'yes too', pass))
    expect(pings(one, '10.8.0.2')).toBe(true)
    expect(await lab.net.programs(other, 'eth0')).toEqual([
      { hook: 'ingress', name: 'yes' },
      { hook: 'egress', name: 'yes too' },
    ])
    const shown = execFileSync('tc', ['-n', other.replace('/run/netns/', ''), 'filter', 'show', 'dev', 'eth0', 'ingress'], {
      encoding: 'utf8',
    })
    expect(shown).toMatch(/yes direct-action/)
    expect(shown.match(/direct-action/g)).toHaveLength(1)
  })

  test('put VLANs on frames and take them off', async () => {
    await lab.apply(one, set('egress', 'tag', tag(100)))
    expect(pingOnce()).toBe(0)
    await lab.apply(other, set('ingress', 'untag', untag(100)))
    expect(pings(one, '10.8.0.2')).toBe(true)
    await lab.apply(other, set('ingress', 'untag', untag(200)))
    expect(pingOnce()).toBe(0)
  })

  test('have memory of their own, which begins anew with the next one', async () => {
    await lab.apply(other, set('ingress', 'three', atMost(3)))
    expect(pingOnce(6)).toBe(3)
    await lab.apply(other, set('ingress', 'two', atMost(2)))
    expect(pingOnce(6)).toBe(2)
  })

  test('are removed together, also from links that have none or are not there', async () => {
    await lab.apply(other, set('ingress', 'no', drop), set('egress', 'no', drop))
    await lab.apply(
      other,
      { op: 'program.clear', dev: 'eth0' },
      { op: 'program.clear', dev: 'eth0' },
      { op: 'program.clear', dev: 'nosuch' },
    )
    expect(await lab.net.programs(other, 'eth0')).toEqual([])
    expect(pings(one, '10.8.0.2')).toBe(true)
  })

  test('take the place of a redirect', async () => {
    await lab.apply(other, { op: 'redirect.set', from: 'eth0', to: 'lo' })
    expect(pingOnce()).toBe(0)
    await lab.apply(other, set('ingress', 'yes', pass))
    expect(pings(one, '10.8.0.2')).toBe(true)
    expect(await lab.net.redirectTarget(other, 'eth0')).toBeUndefined()
  })

  test('that the kernel does not take are refused in its words', async () => {
    const endless = new Assembler().load(8, 0, 1, 3).exit().assemble()
    await expect(lab.apply(other, set('ingress', 'wrong', endless))).rejects.toMatchObject({
      code: 'KERNEL_REFUSED',
      message: expect.stringMatching(/eth0 ingress wrong: .*the program is refused: .*invalid bpf_context access/s),
    })
    await expect(lab.apply(other, { ...set('ingress', 'x', pass), dev: 'nosuch' } as NetOp)).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })
})
