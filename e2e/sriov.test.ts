import type { LabNode } from '@cni-offload/cli'
import type { NetOp } from '@cni-offload/linux'
import { Assembler, type BpfProgram, CONTEXT, HELPER, networkOrder16, VERDICT } from '@cni-offload/linux/bpf'
import { datagramRate, reaches } from '@cni-offload/testing'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { E2eLab, EVERYTHING, needsRoot } from './fixture.ts'

const PATIENCE = 120_000

/** What an interface for a VLAN does, as a kernel module has it that is not everywhere. */
function vlanInterface(vlan: number): readonly NetOp[] {
  const tag = networkOrder16(0x8100)
  const out = new Assembler().compute('mov', 2, tag).compute('mov', 3, vlan).call(HELPER.vlanPush).compute('mov', 0, VERDICT.pass).exit()
  const into = new Assembler()
  const foreign = into.label('foreign')
  into.load(4, 2, 1, CONTEXT.vlanTci).compute('and', 2, 0xfff).jumpIf(2, '!=', vlan, foreign).call(HELPER.vlanPop)
  into.compute('mov', 0, VERDICT.pass).exit().place(foreign).compute('mov', 0, VERDICT.drop).exit()
  const set = (hook: 'ingress' | 'egress', program: BpfProgram): NetOp => ({ op: 'program.set', dev: 'eth0', hook, name: 'vlan', program })
  return [set('egress', out.assemble()), set('ingress', into.assemble())]
}

describe.skipIf(needsRoot).each(EVERYTHING ? (['soft', 'octeon'] as const) : (['soft'] as const))(
  'networks as of sriov-cni over two nodes, hardware %s (needs root for namespaces)',
  { timeout: PATIENCE },
  (hardware) => {
    let e2e: E2eLab
    let before: unknown[]
    const pods = new Map<string, { readonly node: LabNode; readonly conf: object; readonly result: Record<string, any> }>()

    beforeAll(async () => {
      e2e = await E2eLab.up({ nodes: 2, vfs: 6, adapter: 'sriov', hardware })
      before = [await e2e.held(e2e.lab.node(1)), await e2e.held(e2e.lab.node(2))]
    }, PATIENCE)
    afterAll(() => e2e?.[Symbol.asyncDispose]())

    const add = async (pod: string, on: number, conf: object): Promise<void> => {
      const node = e2e.lab.node(on)
      pods.set(pod, { node, conf, result: await e2e.addPod(node, pod, conf) })
    }
    const addressesOf = (pod: string): string[] =>
      (pods.get(pod)?.result['ips'] ?? []).map(({ address }: { address: string }) => address.replace(/\/\d+$/, ''))
    const answers = async (from: string, to: string, withinSeconds: number): Promise<boolean[]> =>
      await Promise.all(addressesOf(to).map((address) => reaches(e2e.lab.podPath(from), address, { withinSeconds })))
    const reachesAll = async (from: string, to: string): Promise<boolean> => (await answers(from, to, 10)).every(Boolean)
    const reachesNone = async (from: string, to: string): Promise<boolean> => !(await answers(from, to, 1)).some(Boolean)
    const inPod = (pod: string, ...ops: readonly NetOp[]): Promise<void> => e2e.net.apply(e2e.lab.podPath(pod), ops)

    test('pods reach those of their VLAN on both nodes, and no others', async () => {
      for (const [pod, on, vlan] of [
        ['a1', 1, 100],
        ['a2', 2, 100],
        ['b1', 1, 200],
        ['b2', 2, 200],
      ] as const)
        await add(pod, on, { vlan })
      expect(await Promise.all([reachesAll('a1', 'a2'), reachesAll('b2', 'b1')])).toEqual([true, true])
      expect(await Promise.all([reachesNone('a1', 'b1'), reachesNone('a1', 'b2'), reachesNone('b2', 'a1')])).toEqual([true, true, true])
    })

    test('frames with tags of the pods cross the nodes within a VLAN of 802.1ad', async () => {
      for (const [pod, on] of [
        ['q1', 1],
        ['q2', 2],
      ] as const)
        await add(pod, on, { vlan: 300, vlanProto: '802.1ad' })
      expect(await reachesAll('q1', 'q2')).toBe(true)
      await inPod('q1', ...vlanInterface(7))
      await inPod('q2', ...vlanInterface(7))
      expect(await reachesAll('q1', 'q2')).toBe(true)
      await inPod('q2', ...vlanInterface(8))
      expect(await reachesNone('q1', 'q2')).toBe(true)
    })

    test('a pod gets through with no other address, and with no other MAC, until it is trusted', async () => {
      const foreign = ['10.244.9.9/16', 'fd00:244::9:9/64']
      const each = (op: 'addr.add' | 'addr.del'): Promise<void> =>
        inPod('a1', ...foreign.map((address): NetOp => ({ op, dev: 'eth0', address })))
      await each('addr.add')
      const found = foreign.map((address) => reaches(e2e.lab.podPath('a2'), address.replace(/\/.*/, ''), { withinSeconds: 1 }))
      expect(await Promise.all(found)).toEqual([false, false])
      await each('addr.del')
      expect(await reachesAll('a1', 'a2')).toBe(true)
      await inPod('a1', { op: 'link.set', dev: 'eth0', mac: '02:aa:00:00:00:99' })
      expect(await reachesNone('a2', 'a1')).toBe(true)

      await add('t1', 1, { vlan: 100, trust: 'on' })
      expect(await reachesAll('a2', 't1')).toBe(true)
      await inPod(
        't1',
        { op: 'link.set', dev: 'eth0', mac: '02:aa:00:00:00:98' },
        { op: 'announce', dev: 'eth0', addresses: addressesOf('t1') },
      )
      expect(await reachesAll('a2', 't1')).toBe(true)
    })

    test.runIf(EVERYTHING)(
      'a pod sends no faster than it may, within a tenth over 5 s, also to the other node (E2E_EVERYTHING)',
      async () => {
        await add('r1', 1, { vlan: 100, max_tx_rate: 40 })
        const [address = ''] = addressesOf('a2')
        const rate = await datagramRate(e2e.net, { from: e2e.lab.podPath('r1'), to: e2e.lab.podPath('a2'), address }, 5_000)
        expect(rate / 40).toBeGreaterThan(0.9)
        expect(rate / 40).toBeLessThan(1.1)
      },
    )

    test.each<[string, object, number, RegExp]>([
      ['a VLAN of 4095', { vlan: 4095 }, 7, /vlan/],
      ['a least rate above the largest', { min_tx_rate: 20, max_tx_rate: 10 }, 7, /min_tx_rate = 20/],
      ['a promised rate', { min_tx_rate: 20 }, 2, /min_tx_rate = 20/],
      ['an unknown protocol', { vlan: 5, vlanProto: '802.1x' }, 7, /vlanProto/],
      ['a priority without VLAN', { vlanQoS: 3 }, 7, /vlanQoS = 3/],
      ['an IPAM that is not installed', { ipam: { type: 'nosuch' } }, 7, /nosuch/],
      ['an IPAM that needs the pod', { ipam: { type: 'dhcp' } }, 2, /hostIPAM/],
      ['a pool without addresses', { ipam: { type: 'pool', ranges: [] } }, 7, /ranges/],
      ['a MAC of a group', { mac: '03:00:00:00:00:01' }, 7, /mac/],
      ['the MAC of another pod', { mac: '' }, 100, /MAC/],
    ])('%s is refused, and nothing is held for it', async (_what, conf, code, text) => {
      const node = e2e.lab.node(1)
      const held = await e2e.held(node)
      await e2e.lab.createPod('bad')
      const mac = 'mac' in conf && conf.mac === '' ? { mac: pods.get('b1')?.result['interfaces'].at(-1).mac } : {}
      const outcome = await e2e.call(node, 'ADD', 'bad', { conf: { ...conf, ...mac } })
      expect(outcome.json).toMatchObject({ code, msg: expect.any(String) })
      expect(outcome.stdout).toMatch(text)
      await e2e.lab.deletePod('bad')
      expect(await e2e.held(node)).toEqual(held)
    })

    test('CHECK is content, and after DEL nothing is left', async () => {
      for (const [pod, { node, conf, result }] of pods)
        if (['a2', 'b1', 'q2'].includes(pod))
          expect(await e2e.call(node, 'CHECK', pod, { conf: { ...conf, prevResult: result } })).toMatchObject({ exitCode: 0 })
      for (const [pod, { node, conf, result }] of pods) {
        expect(await e2e.call(node, 'DEL', pod, { conf: { ...conf, prevResult: result } })).toMatchObject({ exitCode: 0 })
        await e2e.lab.deletePod(pod)
      }
      expect([await e2e.held(e2e.lab.node(1)), await e2e.held(e2e.lab.node(2))]).toEqual(before)
    })
  },
)
