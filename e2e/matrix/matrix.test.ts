import type { CniOutcome } from '@cni-offload/cli'
import type { Route } from '@cni-offload/sdk'
import { exec, inNetns, ping, reaches } from '@cni-offload/testing'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { EVERYTHING, needsRoot, NOTHING_HELD } from '../fixture.ts'
import { ALL, type Shape, SHAPES, subnetsOf, TOO_LARGE, TOO_SMALL } from './cases.ts'
import { expectedResult } from './expected-result.ts'
import { ifNameOf, MatrixLab } from './matrix-lab.ts'
import { ip, type ReadBack, readBack, sorted } from './read-back.ts'

/** One per pod. The first two pods are in every test, and their versions have CHECK. */
const VERSIONS = ['1.1.0', '0.4.0', '1.0.0', '0.3.1', '0.2.0']

type Json = Record<string, any>

const plain = (cidr: string): string => cidr.slice(0, cidr.indexOf('/'))
const six = (address: string): boolean => address.includes(':')
const prefixOf = (begin: string): string => (six(begin) ? `${begin}/64` : `${begin}0/24`)

const withSorted = (result: Json): Json => {
  const family = (one: Json | undefined): object =>
    one === undefined ? {} : { ...one, ...(one['routes'] ? { routes: sorted(one['routes']) } : {}) }
  return {
    ...result,
    ...(result['routes'] ? { routes: sorted(result['routes']) } : {}),
    ...(result['ip4'] ? { ip4: family(result['ip4']) } : {}),
    ...(result['ip6'] ? { ip6: family(result['ip6']) } : {}),
  }
}

/** Echo requests that fill the MTU arrive, larger ones cannot even be sent: nothing between drops what was promised. */
async function expectTraffic(from: string, address: string, mtu: number): Promise<void> {
  const size = mtu - (six(address) ? 48 : 28)
  expect(await ping(from, address, { count: 2, size, dontFragment: true, waitMs: 5000 }), `${address}, MTU ${mtu}`).toEqual({
    sent: 2,
    received: 2,
  })
  expect(await ping(from, address, { count: 1, size: size + 1, dontFragment: true, waitMs: 100 }), 'too large').toMatchObject({
    received: 0,
  })
}

// What pods are given by stock plugins, by far the most shapes; those of the native adapter take as long again.
const ADAPTERS = EVERYTHING ? (['hello', 'delegate'] as const) : (['delegate'] as const)

describe.skipIf(needsRoot).each(ADAPTERS)('what a pod can be given, with adapter %s (needs root for namespaces)', (adapter) => {
  let lab: MatrixLab
  const results = new Map<string, Json>()

  beforeAll(async () => {
    lab = await MatrixLab.up(adapter)
  })
  afterAll(async () => {
    await lab?.[Symbol.asyncDispose]()
  })

  const path = (pod: string): string => lab.e2e.lab.podPath(pod)
  const nodeOf = (pod: string): typeof lab.near => (pod === 'far' ? lab.far : lab.near)
  const versionOf = (pod: string): string => (pod === 'far' ? '1.0.0' : (VERSIONS[lab.pods.indexOf(pod)] ?? ''))

  const add = async (shape: Shape, pod: string): Promise<CniOutcome> => {
    const outcome = await lab.call(nodeOf(pod), 'ADD', pod, shape, { cniVersion: versionOf(pod) })
    if (outcome.exitCode === 0) results.set(pod, outcome.json as Json)
    return outcome
  }
  const check = async (shape: Shape, pod: string): Promise<CniOutcome> =>
    await lab.call(nodeOf(pod), 'CHECK', pod, shape, { cniVersion: versionOf(pod), prevResult: results.get(pod) })

  /** Addresses of a pod as the kernel has them, in the order of the shape's subnets. */
  const inOrder = (shape: Shape, pod: string, has: ReadBack | undefined): { address: string; gateway?: string }[] => {
    const { v4, v6 } = subnetsOf(shape, nodeOf(pod).index)
    return [...v4, ...v6].map(({ begin, gateway }) => {
      const own = has?.addresses.filter((cidr) => cidr.startsWith(begin)) ?? []
      expect(own, `addresses of ${pod} in ${begin}`).toHaveLength(1)
      return { address: own[0] ?? '', ...(shape.hostPrefix ? {} : { gateway }) }
    })
  }

  const expectGiven = async (shape: Shape, pod: string): Promise<string[]> => {
    const has = await readBack(path(pod), ifNameOf(shape))
    const of = subnetsOf(shape, nodeOf(pod).index)
    const routes: Route[] = shape.routes(of)
    const ips = inOrder(shape, pod, has)
    const length = (address: string): number => (shape.hostPrefix ? (six(address) ? 128 : 32) : six(address) ? 64 : 24)
    expect(has).toEqual({
      mac: has?.mac,
      mtu: shape.mtu,
      up: true,
      addresses: ips.map(({ address }) => `${plain(address)}/${length(address)}`).toSorted(),
      doubtful: [],
      routes: sorted(routes),
      kernelRoutes: shape.noPrefixRoutes ? expect.anything() : [...of.v4, ...of.v6].map(({ begin }) => prefixOf(begin)).toSorted(),
    })
    if (shape.noPrefixRoutes)
      expect([...of.v4, ...of.v6].map(({ begin }) => prefixOf(begin)).filter((own) => has?.kernelRoutes.includes(own))).toEqual([])
    const truth = { ifName: ifNameOf(shape), sandbox: path(pod), mac: has?.mac ?? '', mtu: shape.mtu, ips, routes, dns: shape.dns ?? {} }
    expect(withSorted(results.get(pod) ?? {})).toEqual(withSorted(expectedResult(versionOf(pod), truth)))
    return ips.map(({ address }) => plain(address))
  }

  test.each(SHAPES.filter(({ by }) => adapter === 'delegate' || by === undefined))('$id', async (shape) => {
    const ifName = ifNameOf(shape)
    const empty = shape.subnets[0] + shape.subnets[1] === 0
    const before = { vfs: await lab.vfs(lab.near), ports: await lab.portMtus(lab.near) }
    await lab.serve(shape, lab.near)
    if (shape.twoNodes) await lab.serve(shape, lab.far)

    // What adapters answer is encoded in one place: all versions of what the example makes need no second adapter.
    const few = shape.two || (adapter === 'delegate' && shape.by !== 'ptp')
    const near = few ? lab.pods.slice(0, 2) : lab.pods
    const all = [...near, ...(shape.twoNodes ? ['far'] : [])]
    const addTo = async (pod: string): Promise<{ pod: string; outcome: CniOutcome }> => ({ pod, outcome: await add(shape, pod) })
    // One alone at first: stock plugins that make the same bridge at the same time get in each other's way.
    const outcomes = [await addTo('p0'), ...(await Promise.all(all.slice(1).map(addTo)))]
    // The oldest results have no place for a network without addresses.
    const refused = outcomes.filter(({ pod }) => empty && versionOf(pod) === '0.2.0')
    for (const { pod, outcome } of refused) {
      expect(outcome).toMatchObject({ exitCode: 1, json: { code: 1, msg: expect.stringContaining('cniVersion = "0.2.0"') } })
      expect(await readBack(path(pod), ifName)).toBeUndefined()
      expect(await lab.held(lab.near)).toMatchObject({ attachments: near.length - 1, queue: 0 })
    }
    const given = outcomes.filter((one) => !refused.includes(one))
    for (const { pod, outcome } of given) expect(outcome, `ADD ${pod}: ${outcome.stdout}`).toMatchObject({ exitCode: 0 })

    const addresses = new Map<string, string[]>()
    await Promise.all(given.map(async ({ pod }) => addresses.set(pod, await expectGiven(shape, pod))))
    expect(new Set([...addresses.values()].flat()).size).toBe([...addresses.values()].flat().length)
    const checked = given.map(({ pod }) => pod).filter((pod) => versionOf(pod) >= '0.4.0')
    for (const outcome of await Promise.all(checked.map((pod) => check(shape, pod))))
      expect(outcome).toMatchObject({ exitCode: 0, stdout: '' })

    if (empty)
      for (const [pod, host] of [
        ['p0', 1],
        ['p1', 2],
      ] as const) {
        // Whose network it is decides about its addresses, of both families.
        await ip(path(pod), `addr add 10.99.0.${host}/24 dev ${ifName}`)
        await ip(path(pod), `-6 addr add fd99::${host}/64 dev ${ifName} nodad`)
        addresses.set(pod, [`10.99.0.${host}`, `fd99::${host}`])
      }
    await Promise.all(
      ['p1', 'far'].flatMap((pod) => addresses.get(pod) ?? []).map((address) => expectTraffic(path('p0'), address, shape.mtu)),
    )

    const spoil = async (pod: string, change: string, missing: string): Promise<void> => {
      await ip(path(pod), change)
      expect(await check(shape, pod), change).toMatchObject({ exitCode: 1, json: { code: 101, msg: expect.stringContaining(missing) } })
    }
    await spoil('p0', `link set ${ifName} mtu ${shape.mtu - 1}`, `MTU is ${shape.mtu - 1} instead of ${shape.mtu}`)
    for (const { dst, gw, table, priority } of shape.routes(subnetsOf(shape, lab.near.index)).slice(-1)) {
      const where = `${table === undefined ? '' : ` table ${table}`}${priority === undefined ? '' : ` metric ${priority}`}`
      await spoil(
        'p1',
        `-${six(dst) ? 6 : 4} route del ${dst} dev ${ifName}${where}`,
        `route ${dst}${gw === undefined ? '' : ` via ${gw}`} is missing`,
      )
    }
    const [own] = empty ? [] : inOrder(shape, 'p1', await readBack(path('p1'), ifName))
    if (own !== undefined) await spoil('p1', `addr del ${own.address} dev ${ifName}`, `address ${own.address} is missing`)

    for (const { pod, outcome } of await Promise.all(
      all.map(async (pod) => ({
        pod,
        outcome: await lab.call(nodeOf(pod), 'DEL', pod, shape, { cniVersion: versionOf(pod), prevResult: results.get(pod) }),
      })),
    )) {
      expect(outcome, `DEL ${pod}`).toMatchObject({ exitCode: 0, stdout: '' })
      expect(await readBack(path(pod), ifName)).toBeUndefined()
    }
    expect(await lab.held(lab.near)).toEqual({ attachments: 0, leases: 0, queue: 0 })
    expect(await lab.vfs(lab.near)).toEqual(before.vfs)
    // The example's ports keep the MTU of their bridge; whoever has them next gives them his.
    if (adapter === 'delegate') expect(await lab.portMtus(lab.near)).toEqual(before.ports)
    results.clear()
  })

  // So that one shape that goes wrong does not hide what the next ones do.
  afterEach(async () => {
    for (const pod of results.keys()) for (const shape of ALL) await lab.call(nodeOf(pod), 'DEL', pod, shape)
    results.clear()
  })

  const shapeOf = (id: string): Shape => {
    const found = SHAPES.find((shape) => shape.id === id)
    if (found === undefined) throw new Error(id)
    return found
  }
  const expectRefused = async (shape: Shape, pod: string, conf: object, code: number, message: RegExp): Promise<void> => {
    const node = nodeOf(pod)
    const vfs = await lab.vfs(node)
    await lab.serve(shape, node)
    expect(await lab.call(node, 'ADD', pod, shape, conf)).toMatchObject({
      exitCode: 1,
      json: { code, msg: expect.stringMatching(message) },
    })
    expect(await readBack(path(pod), ifNameOf(shape))).toBeUndefined()
    expect(await lab.held(node)).toEqual({ attachments: 0, leases: 0, queue: 0 })
    expect(await lab.vfs(node)).toEqual(vfs)
  }

  test('an "mtu" that the network on the DPU does not have is refused, one that it has is not', async () => {
    const shape = shapeOf('dual-stack')
    await expectRefused(shape, 'p0', { mtu: 9000 }, 7, /^mtu = 9000: network "dual-stack" has an MTU of 1500/)
    results.set('p0', {})
    expect(await lab.call(lab.near, 'ADD', 'p0', shape, { mtu: 1500 })).toMatchObject({ exitCode: 0 })
  })

  test('an MTU that the card does not carry is refused', async () => {
    await expectRefused(TOO_LARGE, 'far', {}, 106, /carries an MTU of 9000 at most; network "mtu-9100" has 9100/)
  })

  test.runIf(adapter === 'delegate')('IPv6 addresses on a link that is too small for IPv6 are refused', async () => {
    await expectRefused(TOO_SMALL, 'p0', {}, 102, /plugin "bridge", ADD: .*fd00:/)
  })

  test('a pod whose namespace has IPv6 switched off gets it on this interface', async () => {
    const shape = shapeOf('dual-stack')
    await lab.serve(shape, lab.near)
    const switched = async (value: '0' | '1'): Promise<void> => {
      for (const pod of ['p0', 'p1']) await lab.e2e.net.apply(path(pod), [{ op: 'sysctl', key: 'net.ipv6.conf.all.disable_ipv6', value }])
    }
    await switched('1')
    for (const pod of ['p0', 'p1']) expect(await add(shape, pod)).toMatchObject({ exitCode: 0 })
    await expectGiven(shape, 'p0')
    for (const address of await expectGiven(shape, 'p1')) await expectTraffic(path('p0'), address, shape.mtu)
    expect(await check(shape, 'p0')).toMatchObject({ exitCode: 0 })
    await switched('0')
  })

  test('a smaller link on the way is told to the sender', async () => {
    const shape = shapeOf('mtu-9000')
    for (const pod of ['p0', 'far']) {
      await lab.serve(shape, nodeOf(pod))
      expect(await add(shape, pod)).toMatchObject({ exitCode: 0 })
    }
    const underlay = async (mtu: number): Promise<void> => {
      for (const node of [lab.near, lab.far]) await ip(lab.e2e.lab.netns(node, 'agent'), `link set up0 mtu ${mtu}`)
    }
    await underlay(1500)
    for (const address of await expectGiven(shape, 'far')) {
      const { stdout, stderr } = await exec(
        inNetns(path('p0'), ['ping', '-c', '2', '-i', '0.1', '-W', '1', '-M', 'do', '-s', '8000', address]),
      )
      expect(`${stdout}${stderr}`, address).toMatch(/mtu ?[=:] ?1500/i)
      expect(await ip(path('p0'), `route get ${address}`)).toContain('mtu 1500')
      // The other side learns it with its first answer, which is lost.
      expect(await reaches(path('p0'), address, { size: 8000, withinSeconds: 20 }), `${address} in fragments`).toBe(true)
    }
    await underlay(9000)
  })

  test('and nothing of it is left on either side', async () => {
    for (const node of [lab.near, lab.far]) expect(await lab.e2e.held(node)).toEqual(NOTHING_HELD)
  })
})
