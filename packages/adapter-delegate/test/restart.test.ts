import { existsSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { AttachResult, PortRef } from '@cni-offload/sdk'
import { ping, wirePod } from '@cni-offload/testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { attachmentNote, PORT_IN_PROXY } from '../src/index.ts'
import { CNI_PATH, ctx, isRoot, Lab, NEEDS_ROOT } from './lab.ts'

describe.skipIf(!isRoot)(`restarts and losses ${NEEDS_ROOT}`, () => {
  let lab: Lab
  beforeEach(async () => {
    lab = await Lab.create(2)
    await lab.start([lab.bridge()])
  })
  afterEach(() => lab[Symbol.asyncDispose]())

  it('a restarted agent adopts proxies and attachments; traffic never stops', async () => {
    const first = await lab.adapter.attach(lab.request(0), ctx())
    await wirePod(lab.net, lab.at(0).pod.path, 'eth0', first)
    const before = await lab.proxy(0).links()
    await lab.stop()
    expect(await ping(lab.at(0).pod.path, '10.77.0.1')).toEqual({ sent: 3, received: 3 })
    await lab.start([lab.bridge()])
    expect((await lab.proxy(0).links())?.map(({ index, name }) => ({ index, name }))).toEqual(
      before?.map(({ index, name }) => ({ index, name })),
    )
    expect(await lab.adapter.list(ctx())).toEqual([lab.request(0).key])
    expect(await lab.adapter.attach(lab.request(0), ctx())).toEqual(first)
    await lab.adapter.detach({ key: lab.request(0).key }, ctx())
    expect(await lab.reserved()).toEqual([])
  })

  it('DEL uses the list that ADD was run with, also when the configuration has changed meanwhile', async () => {
    await lab.adapter.attach(lab.request(0), ctx())
    await lab.start([{ type: 'ptp', ipam: { type: 'static' } }])
    await lab.adapter.detach({ key: lab.request(0).key, port: lab.at(0).port }, ctx())
    expect(await lab.reserved()).toEqual([])
    expect((await lab.proxy(0).links())?.map(({ name }) => name)).toEqual(['lo', PORT_IN_PROXY])
  })

  describe('a port that other adapters may attach, too', () => {
    const shared = (index: number): { readonly port: PortRef } => ({ port: { ...lab.at(index).port, shared: true } })
    const atHome = async (index: number): Promise<boolean> =>
      (await lab.net.link(lab.bench.dpuNetns, lab.at(index).port.name)) !== undefined

    it('is given back after a pod, also if the adapter of an earlier configuration had taken it', async () => {
      await lab.start([lab.bridge()], { cacheDir: join(lab.folder, 'of-another-network') })
      await lab.adapter.attach(lab.request(0, shared(0)), ctx())
      await lab.adapter.detach({ key: lab.request(0).key, ...shared(0) }, ctx())
      expect(await atHome(0)).toBe(true)
    })

    it('is given back after a pod that the agent does not know any more', async () => {
      await lab.adapter.attach(lab.request(0, shared(0)), ctx())
      await lab.stop()
      {
        using db = new DatabaseSync(join(lab.deps.stateDir, 'delegate.db'))
        db.exec('DELETE FROM attachments')
      }
      await lab.start([lab.bridge()], {}, '1.0.0', true)
      await lab.adapter.detach({ key: lab.request(0).key }, ctx())
      expect(await atHome(0)).toBe(true)
    })
  })

  it('a running pod is connected again, with its addresses and its MAC, when the DPU lost its network', async () => {
    const expected = await Promise.all([0, 1].map((index) => lab.adapter.attach(lab.request(index), ctx())))
    for (const [index, result] of expected.entries()) await wirePod(lab.net, lab.at(index).pod.path, 'eth0', result)
    await lab.stop()
    // As after a reboot: ports are where they appear first, namespaces and what the CNI made are gone, its files are not.
    for (const index of [0, 1]) await lab.proxy(index).dismantle()
    await lab.net.apply(lab.bench.dpuNetns, [{ op: 'link.del', dev: 'cni0' }])
    await lab.start([lab.bridge()])
    expect(await lab.adapter.list(ctx())).toEqual([])
    // In the other order, so that equal addresses are no accident.
    for (const index of [1, 0]) expect(await lab.adapter.attach(lab.request(index), ctx())).toEqual(expected[index])
    for (const target of ['10.77.0.1', 'fd77::1', '10.77.0.3', 'fd77::3'])
      expect(await ping(lab.at(0).pod.path, target, { waitMs: 4000 }), target).toEqual({ sent: 3, received: 3 })
    const [result] = expected
    if (result !== undefined) await lab.adapter.check({ key: lab.request(0).key, port: lab.at(0).port, expected: result }, ctx())
  })

  it('a plugin that outlived its agent does not make anything after it was undone', async () => {
    // Waits until it is let go, or killed, and then gives the pod its network after all.
    const gate = join(lab.folder, 'gate')
    await lab.script(
      'slow',
      `conf=$(cat)
if [ "$CNI_COMMAND" = ADD ] && [ ! -e ${gate}.open ]; then echo begun >${gate}.begun; while [ ! -e ${gate}.open ]; do sleep 0.05; done; fi
echo "$conf" | sed 's/"type":"slow"/"type":"bridge"/' | ${CNI_PATH}/bridge; status=$?; echo ended >>${gate}.ended; exit $status`,
    )
    const plugins = [lab.bridge({ type: 'slow' })]
    await lab.start(plugins)
    const given = lab.adapter.attach(lab.request(0), ctx()).catch((error: unknown) => error)
    await expect.poll(() => existsSync(`${gate}.begun`), { timeout: 20_000 }).toBe(true)
    // As after SIGKILL: nobody tells the plugin that its agent has gone.
    await lab.start(plugins)
    await lab.adapter.detach({ key: lab.request(0).key }, ctx())
    await writeFile(`${gate}.open`, '')
    expect(await given).toMatchObject({ code: expect.any(String) })
    expect(await lab.reserved()).toEqual([])
    expect((await lab.proxy(0).links())?.map(({ name }) => name)).toEqual(['lo', PORT_IN_PROXY])
  })

  describe('attaching again what a running pod has', () => {
    /** A second plugin that hands its input on, but for the first pod only while nobody has broken it. */
    const withSecond = async (): Promise<void> => {
      await lab.script(
        'second',
        `conf=$(cat)
case "$CNI_COMMAND" in
ADD) if [ "$CNI_CONTAINERID" = ${lab.request(0).key.containerId} ] && [ -e ${lab.folder}/broken ]; then exit 1; fi
  echo "$conf" | sed 's/.*"prevResult"://; s/}$//';;
DEL) test ! -e ${lab.folder}/stuck;;
esac`,
      )
      await lab.start([lab.bridge(), { type: 'second' }])
    }
    const attached = async (): Promise<AttachResult> => {
      await withSecond()
      const result = await lab.adapter.attach(lab.request(0), ctx())
      await wirePod(lab.net, lab.at(0).pod.path, 'eth0', result)
      return result
    }
    const flag = (name: 'broken' | 'stuck', on: boolean): Promise<void> =>
      on ? writeFile(join(lab.folder, name), '') : rm(join(lab.folder, name))
    const addresses = ({ ips }: AttachResult): string[] => ips.map(({ address }) => address.split('/')[0] ?? '').toSorted()

    it('may fail as often as it likes: addresses stay reserved, and come back with the MAC', async () => {
      const first = await attached()
      await lab.stop()
      for (const index of [0, 1]) await lab.proxy(index).dismantle()
      await lab.net.apply(lab.bench.dpuNetns, [{ op: 'link.del', dev: 'cni0' }])
      await flag('broken', true)
      for (let attempt = 0; attempt < 2; attempt++) {
        await lab.start([lab.bridge(), { type: 'second' }])
        await expect(lab.adapter.attach(lab.request(0), ctx())).rejects.toMatchObject({ code: 'ADAPTER_FAILED' })
        expect(await lab.reserved()).toEqual(addresses(first))
        expect(await lab.adapter.list(ctx())).toEqual([])
      }
      const other = await lab.adapter.attach(lab.request(1), ctx())
      expect(addresses(other)).not.toEqual(addresses(first))
      // The pod is cut off; nobody answers in its place.
      expect(await ping(lab.bench.dpuNetns, '10.77.0.2', { count: 1 })).toMatchObject({ received: 0 })
      await flag('broken', false)
      expect(await lab.adapter.attach(lab.request(0), ctx())).toEqual(first)
      expect(await ping(lab.at(0).pod.path, '10.77.0.1')).toEqual({ sent: 3, received: 3 })
    })

    it('that fails while undoing, or is given up, forgets nothing either', async () => {
      const first = await attached()
      await lab.net.apply(lab.proxy(0).path, [{ op: 'link.del', dev: 'eth0' }])
      await flag('stuck', true)
      await expect(lab.adapter.attach(lab.request(0), ctx())).rejects.toMatchObject({ message: expect.stringMatching(/second", DEL/) })
      expect(await lab.reserved()).toEqual(addresses(first))
      await flag('stuck', false)
      await lab.start([lab.bridge(), { type: 'second' }])
      const abort = new AbortController()
      const given = lab.adapter.attach(lab.request(0), ctx(abort.signal))
      abort.abort()
      await expect(given).rejects.toMatchObject({ code: 'CANCELLED' })
      expect(await lab.adapter.attach(lab.request(0), ctx())).toEqual(first)
    })

    it('works by the note in the proxy too, if the database is lost', async () => {
      const first = await attached()
      await lab.stop()
      await rm(lab.deps.stateDir, { recursive: true })
      await flag('broken', true)
      await lab.start([lab.bridge(), { type: 'second' }])
      await expect(lab.adapter.attach(lab.request(0), ctx())).rejects.toMatchObject({ code: 'ADAPTER_FAILED' })
      await flag('broken', false)
      await lab.start([lab.bridge(), { type: 'second' }])
      expect(await lab.adapter.attach(lab.request(0), ctx())).toMatchObject({ mac: first.mac, ips: first.ips })
    })

    it('that failed leaves nothing once the pod goes', async () => {
      await attached()
      await lab.net.apply(lab.proxy(0).path, [{ op: 'link.del', dev: 'eth0' }])
      await flag('broken', true)
      await expect(lab.adapter.attach(lab.request(0), ctx())).rejects.toMatchObject({ code: 'ADAPTER_FAILED' })
      await lab.adapter.detach({ key: lab.request(0).key, port: lab.at(0).port }, ctx())
      expect(await lab.reserved()).toEqual([])
      expect((await lab.proxy(0).links())?.map(({ name, up }) => `${name} ${up}`)).toEqual(['lo true', `${PORT_IN_PROXY} false`])
      await flag('broken', false)
      expect(addresses(await lab.adapter.attach(lab.request(0), ctx()))).not.toContain('10.77.0.2')
    })
  })

  describe('when everything is lost, also what the IPAM plugin has given away', () => {
    const lost = async (): Promise<AttachResult[]> => {
      const results = []
      for (const index of [0, 1]) results.push(await lab.adapter.attach(lab.request(index), ctx()))
      await lab.stop()
      for (const index of [0, 1]) await lab.proxy(index).dismantle()
      await lab.net.apply(lab.bench.dpuNetns, [{ op: 'link.del', dev: 'cni0' }])
      for (const folder of [lab.deps.stateDir, lab.leases]) await rm(folder, { recursive: true })
      return results
    }

    it('running pods get what the host says that they have', async () => {
      const before = await lost()
      await lab.start([lab.bridge()])
      // In the other order, so that equal addresses are no accident.
      for (const index of [1, 0]) {
        const had = before[index]!
        expect(await lab.adapter.attach(lab.request(index, { had }), ctx())).toEqual(had)
        await lab.adapter.check({ key: lab.request(index).key, port: lab.at(index).port, expected: had }, ctx())
      }
    })

    it('a list that gives a running pod something else fails, as often as it is tried, until the pod goes', async () => {
      const [had] = await lost()
      await lab.script('headstrong', `echo '{"cniVersion":"1.0.0","ips":[{"address":"10.77.9.9/24"}]}'`)
      await lab.start([lab.bridge({ ipam: { type: 'headstrong' } })])
      const fixed = lab.request(0, { had: had! })
      for (let attempt = 0; attempt < 2; attempt++) {
        await expect(lab.adapter.attach(fixed, ctx())).rejects.toMatchObject({
          code: 'ADAPTER_FAILED',
          message: expect.stringMatching(/running pod has .*10\.77\.0\.2.* gives it .*10\.77\.9\.9/),
        })
        expect(await lab.adapter.list(ctx())).toEqual([])
      }
      await lab.adapter.detach({ key: fixed.key, port: fixed.port }, ctx())
      expect((await lab.proxy(0).links())?.map(({ name, up }) => `${name} ${up}`)).toEqual(['lo true', `${PORT_IN_PROXY} false`])
    })

    it('the host counts more than what is remembered', async () => {
      const first = await lab.adapter.attach(lab.request(0), ctx())
      const had = {
        ...first,
        mac: '02:c0:ff:ee:04:00',
        ips: first.ips.map(({ address, ...rest }) => ({ ...rest, address: other(address) })),
      }
      expect(await lab.adapter.attach(lab.request(0, { had }), ctx())).toMatchObject({ mac: had.mac, ips: had.ips })
      expect(await lab.reserved()).toEqual(had.ips.map(({ address }) => address.split('/')[0]).toSorted())
    })

    const other = (address: string): string => address.replace(/([.:])\w+\//, '$177/')
  })

  it('the MAC is asked of a plugin that can be asked for it', async () => {
    await lab.start([lab.bridge(), { type: 'tuning', capabilities: { mac: true } }])
    const first = await lab.adapter.attach(lab.request(0), ctx())
    await lab.net.apply(lab.proxy(0).path, [{ op: 'link.del', dev: 'eth0' }])
    expect(await lab.adapter.attach(lab.request(0), ctx())).toEqual(first)
    await lab.adapter.check({ key: lab.request(0).key, port: lab.at(0).port, expected: first }, ctx())
  })

  it('an attachment moves to another port with its addresses', async () => {
    const first = await lab.adapter.attach(lab.request(0), ctx())
    const moved = await lab.adapter.attach(lab.request(0, { port: lab.at(1).port }), ctx())
    expect(moved).toEqual(first)
    expect((await lab.proxy(0).links())?.map(({ name }) => name)).toEqual(['lo', PORT_IN_PROXY])
    expect(await lab.adapter.list(ctx())).toEqual([lab.request(0).key])
  })

  it('what is attached is found and removed even if the database is lost', async () => {
    const first = await lab.adapter.attach(lab.request(0), ctx())
    await lab.stop()
    await rm(lab.deps.stateDir, { recursive: true })
    await lab.start([lab.bridge()])
    expect(await lab.adapter.list(ctx())).toEqual([lab.request(0).key])
    expect((await lab.adapter.attach(lab.request(0), ctx())).ips).toEqual(first.ips)
    await lab.stop()
    await rm(lab.deps.stateDir, { recursive: true })
    await lab.start([lab.bridge()])
    await lab.adapter.detach({ key: lab.request(0).key }, ctx())
    expect(await lab.reserved()).toEqual([])
    expect((await lab.proxy(0).links())?.map(({ name }) => name)).toEqual(['lo', PORT_IN_PROXY])
  })

  it('detach of an unknown attachment never touches who has the port now', async () => {
    const result = await lab.adapter.attach(lab.request(0), ctx())
    await wirePod(lab.net, lab.at(0).pod.path, 'eth0', result)
    await lab.adapter.detach({ key: lab.at(1).pod.key('podnet'), port: lab.at(0).port }, ctx())
    expect(await ping(lab.at(0).pod.path, '10.77.0.1')).toEqual({ sent: 3, received: 3 })
  })

  it('detach of what was ousted from its port frees its addresses and leaves the successor alone', async () => {
    const result = await lab.adapter.attach(lab.request(0), ctx())
    await wirePod(lab.net, lab.at(0).pod.path, 'eth0', result)
    const successor = attachmentNote(lab.at(1).pod.key('podnet'))
    await lab.net.apply(lab.proxy(0).path, [{ op: 'link.set', dev: 'eth0', alias: successor }])
    await lab.adapter.detach({ key: lab.request(0).key, port: lab.at(0).port }, ctx())
    expect(await lab.reserved()).toEqual([])
    expect(await ping(lab.at(0).pod.path, '10.77.0.1')).toEqual({ sent: 3, received: 3 })
  })

  it('a port whose holder is known only by its note is not given to another', async () => {
    await lab.adapter.attach(lab.request(0), ctx())
    await lab.stop()
    await rm(lab.deps.stateDir, { recursive: true })
    await lab.start([lab.bridge()])
    const { containerId } = lab.request(0).key
    const second = lab.request(0, { key: lab.at(1).pod.key('podnet') })
    await expect(lab.adapter.attach(second, ctx())).rejects.toMatchObject({
      code: 'ALREADY_EXISTS',
      message: expect.stringContaining(containerId),
    })
    expect(await lab.adapter.list(ctx())).toEqual([lab.request(0).key])
  })

  it('detach works when the proxy namespace is gone', async () => {
    await lab.adapter.attach(lab.request(0), ctx())
    await lab.net.deleteNetns(lab.proxy(0).name)
    await lab.adapter.detach({ key: lab.request(0).key, port: lab.at(0).port }, ctx())
    expect(await lab.reserved()).toEqual([])
  })

  it('a port that was plugged in again is adopted at the next attach', async () => {
    const { port, pod } = lab.at(0)
    await lab.net.apply(lab.proxy(0).path, [{ op: 'link.del', dev: PORT_IN_PROXY }])
    await expect(lab.adapter.attach(lab.request(0), ctx())).rejects.toMatchObject({
      code: 'HARDWARE_FAILURE',
      message: expect.stringContaining(port.name),
    })
    await lab.net.apply(lab.bench.dpuNetns, [{ op: 'link.add-veth', dev: port.name, peer: { name: 'eth0', netns: pod.path } }])
    await wirePod(lab.net, pod.path, 'eth0', await lab.adapter.attach(lab.request(0), ctx()))
    expect(await ping(pod.path, '10.77.0.1')).toEqual({ sent: 3, received: 3 })
  })

  it('a missing port does not keep the others from starting', async () => {
    await lab.stop()
    await lab.proxy(1).dismantle()
    await lab.net.apply(lab.bench.dpuNetns, [{ op: 'link.del', dev: lab.at(1).port.name }])
    await lab.start([lab.bridge()])
    expect((await lab.adapter.attach(lab.request(0), ctx())).ips).toHaveLength(2)
  })

  it('dismantle gives the port back as it was', async () => {
    await lab.stop()
    await lab.proxy(0).dismantle()
    expect(await lab.net.link(lab.bench.dpuNetns, lab.at(0).port.name)).toMatchObject({ mtu: 1500, up: false })
    expect(await lab.proxy(0).links()).toBeUndefined()
    await lab.proxy(0).dismantle()
  })
})

describe.skipIf(!isRoot)(`eight pods at the same time ${NEEDS_ROOT}`, () => {
  let lab: Lab
  beforeEach(async () => {
    lab = await Lab.create(8)
    await lab.start([lab.bridge()])
  })
  afterEach(() => lab[Symbol.asyncDispose]())

  it('get addresses of their own, and leave nothing', async () => {
    const results = await Promise.all(lab.bench.ports.map((_port, index) => lab.adapter.attach(lab.request(index), ctx())))
    const addresses = results.flatMap(({ ips }) => ips.map(({ address }) => address))
    expect(new Set(addresses).size).toBe(16)
    await Promise.all(lab.bench.ports.map((_port, index) => lab.adapter.detach({ key: lab.request(index).key }, ctx())))
    expect(await lab.reserved()).toEqual([])
    expect(await lab.adapter.list(ctx())).toEqual([])
  })
})
