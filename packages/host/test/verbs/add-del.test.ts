import { systemClock } from '@cni-offload/sdk'
import { ping } from '@cni-offload/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { HostLab } from '../support/lab.ts'

describe.skipIf(process.getuid?.() !== 0)('ADD and DEL (needs root: makes network namespaces and links)', () => {
  let lab: HostLab
  beforeAll(async () => {
    lab = await HostLab.start({ vfs: 3 })
  })
  afterAll(async () => lab[Symbol.asyncDispose]())

  it('gives a pod exactly what the agent decided, and takes it back', async () => {
    await using pod = await lab.pod()
    const answer = await lab.call('ADD', pod)
    expect(answer.exitCode, answer.output).toBe(0)
    const result = JSON.parse(answer.output)
    const link = (await lab.net.link(pod.path, 'eth0'))!
    expect(link).toMatchObject({ up: true, mtu: 1400 })
    expect(result).toMatchObject({
      cniVersion: '1.1.0',
      interfaces: [{ name: 'eth0', mac: link.mac, mtu: 1400, sandbox: pod.path }],
      ips: [
        { interface: 0, gateway: '10.77.0.1' },
        { interface: 0, gateway: 'fd77::1' },
      ],
      routes: [{ dst: '0.0.0.0/0', gw: '10.77.0.1' }, { dst: '::/0' }],
      dns: { nameservers: ['10.77.0.53'] },
    })
    expect((await lab.net.addresses(pod.path, 'eth0')).toSorted()).toEqual(
      result.ips.map(({ address }: { address: string }) => address).toSorted(),
    )
    expect(await lab.net.routes(pod.path, 'eth0')).toEqual([
      { dst: '0.0.0.0/0', gw: '10.77.0.1' },
      { dst: '::/0', gw: 'fd77::1' },
    ])
    const [told] = [...lab.agent.attachments.values()]
    expect(told).toMatchObject({
      pod: pod.identity,
      netconf: { name: 'podnet', type: 'offload-cni' },
      flags: { ipsec: false },
      vfMac: link.mac,
    })
    expect(await lab.inspect()).toMatchObject({
      state: 'RUNNING',
      agent: { connected: true, instanceId: 'run-1' },
      attachments: [{ phase: 'wired', pod: pod.identity, mac: link.mac }],
    })

    expect(await lab.call('DEL', pod)).toEqual({ exitCode: 0, output: '' })
    expect(await lab.net.link(pod.path, 'eth0')).toBeUndefined()
    expect(await lab.remains()).toEqual([])
    expect(await lab.call('DEL', pod, { env: { CNI_NETNS: '' } }), 'again, as runtimes do').toEqual({ exitCode: 0, output: '' })
  })

  it('carries traffic to the other end of the VF', async () => {
    await using pod = await lab.pod()
    expect((await lab.call('ADD', pod)).exitCode).toBe(0)
    const { leases } = await lab.inspect()
    const port = leases.find(({ state }) => state === 'leased')!.vf.replace('soft0/', 'soft0p')
    await lab.net.apply(lab.dpuNetns.path, [
      { op: 'link.set', dev: port, up: true },
      { op: 'addr.add', dev: port, address: '10.77.0.1/24' },
      { op: 'addr.add', dev: port, address: 'fd77::1/64' },
    ])
    expect(await ping(pod.path, '10.77.0.1')).toEqual({ sent: 3, received: 3 })
    expect(await ping(pod.path, 'fd77::1')).toEqual({ sent: 3, received: 3 })
    await lab.call('DEL', pod)
    await lab.net.apply(lab.dpuNetns.path, [
      { op: 'addr.flush', dev: port },
      { op: 'link.set', dev: port, up: false },
    ])
    expect(await lab.remains()).toEqual([])
  })

  it('gives the agent as long as the whole ADD may take', async () => {
    await using pod = await lab.pod()
    let timeoutMs: number | undefined
    lab.agent.before = (method, ctx) => {
      if (method === 'attach') timeoutMs = ctx.timeoutMs
    }
    await lab.call('ADD', pod)
    lab.agent.before = () => {}
    expect(timeoutMs).toBe(60_000)
    await lab.call('DEL', pod)
  })

  it('answers in the version of the netconf', async () => {
    await using pod = await lab.pod()
    const result = JSON.parse((await lab.call('ADD', pod, { netconf: { cniVersion: '0.2.0' } })).output)
    expect(result).toMatchObject({ cniVersion: '0.2.0', ip4: { gateway: '10.77.0.1' }, ip6: { gateway: 'fd77::1' } })
    await lab.call('DEL', pod)
  })

  it('puts its result behind that of the previous plugin', async () => {
    await using pod = await lab.pod()
    const prevResult = {
      interfaces: [{ name: 'lo', sandbox: pod.path }],
      ips: [{ address: '127.0.0.1/8', interface: 0 }],
      routes: [{ dst: '192.0.2.0/24' }],
      dns: { domain: 'x' },
    }
    const result = JSON.parse((await lab.call('ADD', pod, { netconf: { prevResult } })).output)
    expect(result.interfaces.map(({ name }: { name: string }) => name)).toEqual(['lo', 'eth0'])
    expect(result.ips.map((ip: { interface: number }) => ip.interface)).toEqual([0, 1, 1])
    expect(result.routes.map(({ dst }: { dst: string }) => dst)).toEqual(['192.0.2.0/24', '0.0.0.0/0', '::/0'])
    expect(result.dns).toEqual({ domain: 'x', nameservers: ['10.77.0.53'] })
    expect([...lab.agent.attachments.values()].at(-1)?.prevResult).toEqual(prevResult)
    await lab.call('DEL', pod)
  })

  it('sets MAC, sysctls, on-link gateways and neighbours, and keeps IPv6 quiet without an address of it', async () => {
    await using pod = await lab.pod()
    lab.agent.result = {
      mac: '02:00:00:00:77:99',
      ips: [{ address: '10.78.0.5/32', gateway: '169.254.1.1' }],
      routes: [{ dst: '0.0.0.0/0', gw: '169.254.1.1' }, { dst: '169.254.1.1/32', scope: 253 }, { dst: '10.78.0.5/32' }],
      neighbours: [{ ip: '169.254.1.1', mac: '02:00:00:00:77:01' }],
      sysctls: { 'net.ipv4.conf.eth0.arp_filter': '1' },
    }
    const answer = await lab.call('ADD', pod)
    lab.agent.result = {}
    expect(answer.exitCode, answer.output).toBe(0)
    expect(await lab.net.link(pod.path, 'eth0')).toMatchObject({ mac: '02:00:00:00:77:99' })
    expect(await lab.net.routes(pod.path, 'eth0')).toContainEqual({ dst: '0.0.0.0/0', gw: '169.254.1.1' })
    expect(await pod.netns.output(['cat', '/proc/sys/net/ipv4/conf/eth0/arp_filter'])).toBe('1\n')
    expect(await pod.netns.output(['cat', '/proc/sys/net/ipv6/conf/eth0/disable_ipv6'])).toBe('1\n')
    expect(await pod.netns.output(['ip', 'neigh', 'show', 'nud', 'permanent'])).toContain('169.254.1.1 dev eth0 lladdr 02:00:00:00:77:01')
    await lab.call('DEL', pod)
    expect(await lab.remains(), 'the MAC is back as well').toEqual([])
  })

  it('refuses a second ADD and leaves the first intact', async () => {
    await using pod = await lab.pod()
    const first = JSON.parse((await lab.call('ADD', pod)).output)
    const second = await lab.call('ADD', pod)
    expect(second.exitCode).toBe(1)
    expect(JSON.parse(second.output)).toMatchObject({ code: 100, cniVersion: '1.1.0' })
    expect(await lab.net.addresses(pod.path, 'eth0')).toContain(first.ips[0].address)
    expect((await lab.inspect()).attachments).toHaveLength(1)
    await lab.call('DEL', pod)
  })

  it('gives one of two ADDs at the same moment the attachment, and the other an error', async () => {
    await using pod = await lab.pod()
    const answers = await Promise.all([lab.call('ADD', pod), lab.call('ADD', pod)])
    expect(answers.map(({ exitCode }) => exitCode).toSorted()).toEqual([0, 1])
    expect((await lab.inspect()).attachments).toHaveLength(1)
    await Promise.all([lab.call('DEL', pod), lab.call('DEL', pod)])
    expect(await lab.remains()).toEqual([])
  })

  it('answers again what it has made for the very call whose caller has lost it, also after a restart', async () => {
    await using pod = await lab.pod()
    const attaches = (): number => lab.agent.calls.filter((call) => call === 'attach').length
    const before = attaches()
    const began = systemClock.monotonic()
    const first = await lab.call('ADD', pod)
    expect(first.exitCode).toBe(0)
    const sinceMs = (): number => Math.round(systemClock.monotonic() - began)
    expect(await lab.call('ADD', pod, { sinceMs: sinceMs() })).toEqual(first)
    await lab.stopHost()
    await lab.startHost()
    expect(await lab.call('ADD', pod, { sinceMs: sinceMs() })).toEqual(first)
    // Its age may have been fixed long before the daemon reads it.
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(await lab.call('ADD', pod, { sinceMs: 0 })).toEqual(first)
    expect(attaches() - before).toBe(1)
    // A call that was sent once is another one.
    expect(JSON.parse((await lab.call('ADD', pod)).output)).toMatchObject({ code: 100 })
    await lab.call('DEL', pod)
    expect(await lab.remains()).toEqual([])
  })

  it('leaves an interface alone that has the name already', async () => {
    await using pod = await lab.pod()
    await lab.net.apply(pod.path, [{ op: 'link.add-veth', dev: 'eth0', mac: '02:00:00:00:00:0a', peer: { name: 'other' } }])
    expect(JSON.parse((await lab.call('ADD', pod)).output)).toMatchObject({ code: 100, msg: expect.stringContaining('CNI_IFNAME = eth0') })
    expect(await lab.net.link(pod.path, 'eth0')).toMatchObject({ mac: '02:00:00:00:00:0a' })
    expect(await lab.remains()).toEqual([])
  })

  it.each([
    ['the host’s own namespace', (self: HostLab) => self.hostNetns.path, 8],
    ['a file that is no namespace', () => '/etc/hostname', 4],
    ['a path where nothing is', () => '/run/netns/no-such-namespace', 4],
  ])('refuses %s before anything is touched', async (_what, path, code) => {
    await using pod = await lab.pod()
    const calls = lab.agent.calls.length
    const { exitCode, output } = await lab.call('ADD', pod, { env: { CNI_NETNS: path(lab) } })
    expect(exitCode).toBe(1)
    expect(JSON.parse(output)).toMatchObject({ code, msg: expect.stringContaining('CNI_NETNS') })
    expect(lab.agent.calls.length).toBe(calls)
    expect(await lab.remains()).toEqual([])
  })

  it('says which VFs are taken when none is free, and serves again afterwards', async () => {
    await using stack = new AsyncDisposableStack()
    const pods = await Promise.all([0, 1, 2, 3].map(async (n) => stack.use(await lab.pod(`p${n}`))))
    const answers = await Promise.all(pods.map((pod) => lab.call('ADD', pod)))
    const refused = answers.filter(({ exitCode }) => exitCode !== 0)
    expect(refused).toHaveLength(1)
    expect(JSON.parse(refused[0]!.output)).toMatchObject({ code: 11, msg: 'no VF is free: 3 leased, 0 quarantined, 0 unhealthy' })
    expect(new Set(answers.flatMap(({ exitCode, output }) => (exitCode === 0 ? [JSON.parse(output).interfaces[0].mac] : []))).size).toBe(3)
    const { vfs } = { vfs: (await lab.inspect()).leases }
    expect(new Set(vfs.map(({ key }) => key?.containerId)).size).toBe(3)
    await Promise.all(pods.map((pod) => lab.call('DEL', pod)))
    expect(await lab.remains()).toEqual([])
  })

  it('takes the VF out of a pod whose namespace is gone', async () => {
    const pod = await lab.pod()
    expect((await lab.call('ADD', pod)).exitCode).toBe(0)
    await pod[Symbol.asyncDispose]()
    expect(await lab.call('DEL', pod, { env: { CNI_NETNS: '' } })).toEqual({ exitCode: 0, output: '' })
    expect(await lab.remains()).toEqual([])
  })

  it('makes a new attachment where one of the same key died with its namespace', async () => {
    const dead = await lab.pod()
    expect((await lab.call('ADD', dead)).exitCode).toBe(0)
    await dead[Symbol.asyncDispose]()
    await using pod = await lab.pod()
    const reborn = { ...pod, containerId: dead.containerId }
    expect((await lab.call('ADD', reborn)).exitCode).toBe(0)
    expect((await lab.inspect()).attachments).toMatchObject([{ netns: pod.path, phase: 'wired' }])
    await lab.call('DEL', reborn)
    expect(await lab.remains()).toEqual([])
  })

  it('serves two networks of one pod', async () => {
    await using pod = await lab.pod()
    const second = { env: { CNI_IFNAME: 'net1' }, netconf: { name: 'other' } }
    const answers = await Promise.all([lab.call('ADD', pod), lab.call('ADD', pod, second)])
    expect(answers.map(({ exitCode }) => exitCode)).toEqual([0, 0])
    await lab.call('DEL', pod)
    expect(await lab.net.link(pod.path, 'net1'), 'the other one stays').toMatchObject({ up: true })
    await lab.call('DEL', pod, second)
    expect(await lab.remains()).toEqual([])
  })
})
