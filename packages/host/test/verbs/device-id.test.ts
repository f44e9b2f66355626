import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isRoot, ROOT_REASON } from '@cni-offload/testing'
import { describe, expect, it } from 'vitest'
import { FakeAgent } from '../support/fake-agent.ts'
import { HostLab } from '../support/lab.ts'

const json = ({ output }: { readonly output: string }): any => JSON.parse(output)

const start = (): Promise<HostLab> => HostLab.start({ vfs: 3, pciBus: 'f000:00' })

/** Netconf as a meta-plugin writes it for a VF that a device plugin has allocated. */
const allocated = (id: string): object => ({ deviceID: id, pciBusID: id })

const infoFile = (lab: HostLab, name: string): string => join(lab.dir, 'devinfo', 'cni', name)

const informed = (path: string): object => ({ capabilities: { CNIDeviceInfoFile: true }, runtimeConfig: { CNIDeviceInfoFile: path } })

describe.skipIf(!isRoot())(`a VF that a device plugin has allocated (${ROOT_REASON})`, () => {
  it('is the very one that the pod gets, by PCI address or by name, wherever the id stands', async () => {
    await using lab = await start()
    const ids = [
      { netconf: allocated('f000:00:00.3'), vf: 'soft0/2' },
      { netconf: { runtimeConfig: { deviceID: 'soft0/1' }, capabilities: { deviceID: true } }, vf: 'soft0/1' },
      { netconf: { pciBusID: 'F000:00:00.1' }, vf: 'soft0/0' },
    ]
    for (const { netconf, vf } of ids) {
      await using pod = await lab.pod()
      const { interfaces } = json(await lab.call('ADD', pod, { netconf }))
      expect(interfaces[0].pciID, vf).toBe(`f000:00:00.${Number(vf.slice(-1)) + 1}`)
      expect((await lab.inspect()).attachments.map((attachment) => attachment.vf)).toEqual([vf])
      expect(await lab.call('DEL', pod, { netconf })).toMatchObject({ exitCode: 0 })
    }
    expect(await lab.remains()).toEqual([])
  })

  it('is refused when it is unknown, taken or unhealthy, and no other one is given instead', async () => {
    await using lab = await start()
    await using first = await lab.pod('first')
    await using second = await lab.pod('second')
    expect(await lab.call('ADD', first, { netconf: allocated('f000:00:00.2') })).toMatchObject({ exitCode: 0 })
    expect(json(await lab.call('ADD', second, { netconf: allocated('f000:00:00.2') }))).toMatchObject({
      code: 11,
      msg: expect.stringContaining(`deviceID = "f000:00:00.2": VF soft0/1 is leased, attachment podnet/${first.containerId}/eth0`),
    })
    expect(json(await lab.call('ADD', second, { netconf: allocated('0000:99:00.2') }))).toMatchObject({
      code: 7,
      msg: expect.stringContaining('deviceID = "0000:99:00.2": no VF of this host'),
    })
    expect(await lab.call('DEL', first)).toMatchObject({ exitCode: 0 })
    expect(await lab.call('ADD', second, { netconf: allocated('f000:00:00.2') })).toMatchObject({ exitCode: 0 })
    expect(await lab.call('DEL', second)).toMatchObject({ exitCode: 0 })
    expect(await lab.remains()).toEqual([])
  })
})

describe.skipIf(!isRoot())(`VFs that a network keeps (${ROOT_REASON})`, () => {
  it('are for that network only, and STATUS tells each network of its own', async () => {
    const agent = new FakeAgent()
    agent.kept = [{ network: 'fast', vfs: [{ device: 'soft0', index: 2 }] }]
    await using lab = await HostLab.start({ vfs: 3, agent })
    await using pod = await lab.pod()
    const add = (ifName: string, network: string, more: object = {}): Promise<{ readonly output: string }> =>
      lab.call('ADD', pod, { netconf: { name: network, ...more }, env: { CNI_IFNAME: ifName } })
    expect(await add('net1', 'fast')).toMatchObject({ exitCode: 0 })
    expect(json(await lab.call('STATUS', pod, { netconf: { name: 'fast' } }))).toMatchObject({
      code: 50,
      msg: expect.stringContaining('no VF is free: 1 leased, 0 quarantined, 0 unhealthy, 2 kept for others'),
    })
    expect(await lab.call('STATUS', pod)).toMatchObject({ exitCode: 0 })
    expect(json(await add('net2', 'fast'))).toMatchObject({ code: 11, msg: expect.stringContaining('2 kept for others') })
    expect(json(await add('net2', 'fast', { deviceID: 'soft0/0' }))).toMatchObject({
      code: 7,
      msg: expect.stringContaining('deviceID = "soft0/0": VF soft0/0 is kept for others'),
    })
    for (const ifName of ['eth0', 'eth1']) expect(await add(ifName, 'podnet')).toMatchObject({ exitCode: 0 })
    const { attachments } = await lab.inspect()
    expect(Object.fromEntries(attachments.map(({ key, vf }) => [key.ifName, vf]))).toEqual({
      net1: 'soft0/2',
      eth0: 'soft0/0',
      eth1: 'soft0/1',
    })
  })
})

describe.skipIf(!isRoot())(`the device information file of an attachment (${ROOT_REASON})`, () => {
  it('tells of the VF while the pod has it, and is gone with a DEL that says nothing of it', async () => {
    await using lab = await start()
    await using pod = await lab.pod()
    const path = infoFile(lab, 'podnet-uid_net1')
    expect(await lab.call('ADD', pod, { netconf: { ...informed(path), ...allocated('f000:00:00.2') } })).toMatchObject({ exitCode: 0 })
    expect(JSON.parse(await readFile(path, 'utf8'))).toEqual({
      type: 'pci',
      version: '1.1.0',
      pci: { 'pci-address': 'f000:00:00.2', 'pf-pci-address': 'f000:00:00.0' },
    })
    expect(await lab.call('DEL', pod, { env: { CNI_NETNS: '' } })).toMatchObject({ exitCode: 0 })
    expect(await readdir(join(lab.dir, 'devinfo', 'cni'))).toEqual([])
  })

  it('goes with a GC', async () => {
    await using lab = await start()
    await using pod = await lab.pod()
    const path = infoFile(lab, 'f')
    expect(await lab.call('ADD', pod, { netconf: informed(path) })).toMatchObject({ exitCode: 0 })
    expect(await readdir(join(lab.dir, 'devinfo', 'cni'))).toEqual(['f'])
    expect(await lab.call('GC', pod, { netconf: { 'cni.dev/valid-attachments': [] } })).toMatchObject({ exitCode: 0 })
    expect(await readdir(join(lab.dir, 'devinfo', 'cni'))).toEqual([])
    expect(await lab.remains()).toEqual([])
  })

  it('is left alone at the end where it tells of another VF by then: the next sandbox of the same pod has the same name', async () => {
    await using lab = await start()
    await using old = await lab.pod()
    await using next = await lab.pod()
    const path = infoFile(lab, 'same')
    expect(await lab.call('ADD', old, { netconf: informed(path) })).toMatchObject({ exitCode: 0 })
    expect(await lab.call('ADD', next, { netconf: informed(path) })).toMatchObject({ exitCode: 0 })
    const second = await readFile(path, 'utf8')
    expect(await lab.call('DEL', old)).toMatchObject({ exitCode: 0 })
    expect(await readFile(path, 'utf8')).toBe(second)
    expect(await lab.call('DEL', next)).toMatchObject({ exitCode: 0 })
    expect(await readdir(join(lab.dir, 'devinfo', 'cni'))).toEqual([])
  })

  it('that a killed daemon did not finish goes with the attachment, too', async () => {
    await using lab = await start()
    await using pod = await lab.pod()
    const path = infoFile(lab, 'f')
    expect(await lab.call('ADD', pod, { netconf: { ...informed(path), ...allocated('f000:00:00.2') } })).toMatchObject({ exitCode: 0 })
    await writeFile(join(lab.dir, 'devinfo', 'cni', '.f.f000:00:00.2.0'), '{')
    expect(await lab.call('DEL', pod)).toMatchObject({ exitCode: 0 })
    expect(await readdir(join(lab.dir, 'devinfo', 'cni'))).toEqual([])
  })

  it('that the runtime has copied from the device plugin is kept as it is', async () => {
    await using lab = await start()
    await using pod = await lab.pod()
    const path = infoFile(lab, 'copied')
    const copied = JSON.stringify({ type: 'pci', version: '1.1.0', pci: { 'pci-address': 'f000:00:00.1', 'rdma-device': 'mlx5_0' } })
    await mkdir(join(lab.dir, 'devinfo', 'cni'), { recursive: true })
    await writeFile(path, copied)
    expect(await lab.call('ADD', pod, { netconf: { ...informed(path), ...allocated('f000:00:00.1') } })).toMatchObject({ exitCode: 0 })
    expect(await readFile(path, 'utf8')).toBe(copied)
  })

  it('is refused anywhere else, before anything is touched', async () => {
    await using lab = await start()
    await using pod = await lab.pod()
    for (const path of ['/etc/passwd', infoFile(lab, '../../journal'), `${lab.dir}/devinfo/dp/x`, 5 as unknown as string])
      expect(json(await lab.call('ADD', pod, { netconf: informed(path) })), String(path)).toMatchObject({
        code: 7,
        msg: expect.stringContaining('CNIDeviceInfoFile'),
      })
    await mkdir(join(lab.dir, 'devinfo'))
    await symlink('/tmp', join(lab.dir, 'devinfo', 'cni'))
    expect(json(await lab.call('ADD', pod, { netconf: informed(infoFile(lab, 'x')) }))).toMatchObject({ code: 5 })
    expect(await lab.remains()).toEqual([])
  })

  it('is not made for VFs without a PCI address, of which the specification can tell nothing', async () => {
    await using lab = await HostLab.start()
    await using pod = await lab.pod()
    expect(await lab.call('ADD', pod, { netconf: informed(infoFile(lab, 'x')) })).toMatchObject({ exitCode: 0 })
    expect(await readdir(lab.dir)).not.toContain('devinfo')
  })
})
