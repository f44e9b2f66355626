import { createLinuxNet, type LinuxNet } from '@cni-offload/linux'
import { type FakePod, fakePod, isRoot, ping, reaches, ROOT_REASON, tcpTransfer, TestNetns, wirePod } from '@cni-offload/testing'
import { NetnsDatapath } from '@cni-offload/testing/cilium'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { AgentLab } from './lab.ts'

const MTU = 1500
const PODS = ['tiefighter', 'xwing', 'deathstar']

describe.skipIf(!isRoot())(`endpoints of the fake agent forward (${ROOT_REASON})`, { timeout: 90_000 }, () => {
  let net: LinuxNet
  let dpu: TestNetns
  let lab: AgentLab
  const pods = new Map<string, FakePod>()
  const addresses = new Map<string, readonly string[]>()

  /** A pod as cilium-cni makes it, with nothing between it and the agent. */
  const addPod = async (name: string, labels: Record<string, string>): Promise<void> => {
    const pod = await fakePod({ net, name })
    pods.set(name, pod)
    const [device, mac] = [`lxc-${name}`, `02:c1:00:00:00:0${pods.size}`]
    await net.apply(dpu.path, [{ op: 'link.add-veth', dev: device, mtu: MTU, peer: { name: 'eth0', netns: pod.path, mac, mtu: MTU } }])
    await lab.agent.addPod({ namespace: 'default', name, uid: name, labels })
    const { status, body } = await lab.addPod(name, { mac, 'interface-name': device })
    expect(status, JSON.stringify(body)).toBe(201)
    const [{ ipv4, ipv6 }] = body.status.networking.addressing
    const { ipv4: router4, ipv6: router6 } = (await lab.ask('GET', '/config')).body.status.addressing
    addresses.set(name, [ipv4, ipv6])
    await wirePod(net, pod.path, 'eth0', {
      mac,
      mtu: MTU,
      ips: [
        { address: `${ipv4}/32`, gateway: router4.ip },
        { address: `${ipv6}/128`, gateway: router6.ip },
      ],
      routes: [
        { dst: `${router4.ip}/32`, scope: 253 },
        { dst: '0.0.0.0/0', gw: router4.ip, mtu: 1450 },
        { dst: `${router6.ip}/128` },
        { dst: '::/0', gw: router6.ip, mtu: 1450 },
      ],
      neighbours: [],
      dns: {},
      sysctls: {},
    })
  }
  const path = (name: string): string => pods.get(name)!.path

  beforeEach(async () => {
    net = createLinuxNet()
    dpu = await TestNetns.create(net, 'dpu')
    lab = await AgentLab.create({ datapath: new NetnsDatapath(net, dpu.path) })
    await addPod('tiefighter', { org: 'empire', class: 'tiefighter' })
    await addPod('xwing', { org: 'alliance', class: 'xwing' })
    await addPod('deathstar', { org: 'empire', class: 'deathstar' })
  })
  afterEach(async () => {
    await lab[Symbol.asyncDispose]()
    for (const name of PODS) await pods.get(name)?.[Symbol.asyncDispose]()
    pods.clear()
    await dpu[Symbol.asyncDispose]()
    await net[Symbol.asyncDispose]()
  })

  it('to each other and to the router, in both families, until they are deleted; also while the agent is away', async () => {
    for (const address of [...addresses.get('xwing')!, '10.0.0.1', 'fd00:10::1'])
      expect(await reaches(path('tiefighter'), address), address).toBe(true)
    await lab.agent.stop()
    expect(await ping(path('tiefighter'), addresses.get('xwing')![0]!)).toEqual({ sent: 3, received: 3 })
    await lab.agent.start()
    expect(lab.agent.endpoints).toHaveLength(3)
    expect(await ping(path('tiefighter'), addresses.get('xwing')![1]!)).toEqual({ sent: 3, received: 3 })
    await lab.ask('DELETE', '/endpoint/cep-name:default%2Fxwing')
    for (const address of addresses.get('xwing')!)
      expect(await reaches(path('tiefighter'), address, { withinSeconds: 1 }), address).toBe(false)
  })

  it('what is addressed to a MAC that is not the endpoint’s does not arrive', async () => {
    await net.apply(path('xwing'), [{ op: 'link.set', dev: 'eth0', mac: '02:c1:00:00:00:99' }])
    expect(await reaches(path('tiefighter'), addresses.get('xwing')![0]!, { withinSeconds: 1 })).toBe(false)
  })

  it('as the policies for layers 3 and 4 allow, by labels', async () => {
    const [address] = addresses.get('deathstar')!
    const send = (from: string, patience: number = 20_000): Promise<boolean> =>
      tcpTransfer(path('deathstar'), path(from), address!, 10_000, patience).then(
        ({ bytes }) => bytes === 10_000,
        () => false,
      )
    expect([await send('tiefighter'), await send('xwing')], 'without a policy').toEqual([true, true])
    const endpointSelector = { org: 'empire', class: 'deathstar' }
    await lab.agent.setPolicies([{ endpointSelector, ingress: [{ fromEndpoints: [{ org: 'empire' }] }] }])
    expect([await send('tiefighter'), await send('xwing', 1_000)], 'from the empire only').toEqual([true, false])
    expect(await reaches(path('xwing'), addresses.get('deathstar')![1]!, { withinSeconds: 1 }), 'in the other family').toBe(false)
    await lab.agent.setPolicies([
      { endpointSelector, ingress: [{ fromEndpoints: [{ org: 'empire' }], toPorts: [{ port: 1, protocol: 'TCP' }] }] },
    ])
    expect(await send('tiefighter', 1_000), 'to another port').toBe(false)
    await lab.agent.setPolicies([])
    expect(await send('xwing'), 'without a policy again').toBe(true)
  })
})
