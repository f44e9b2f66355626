import { once } from 'node:events'
import { lstat, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { createServer, Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { type Logger, silentLogger } from '@cni-offload/sdk'
import { FakeKubelet } from '@cni-offload/testing/kubelet'
import { describe, expect, it } from 'vitest'
import { socketName } from '../../src/device-plugin/endpoint.ts'
import { eventually } from '../support/lab.ts'
import { vfsOf } from '../support/row.ts'
import { PluginLab, RESOURCE } from './lab.ts'

const IDS = ['0000:01:00.0', '0000:01:00.1', '0000:01:00.2']

/** A log that keeps what was said at level error. */
function errorsOf(): { log: Logger; errors: string[] } {
  const errors: string[] = []
  const log: Logger = {
    ...silentLogger,
    error: (fields, message) => void errors.push(`${message}: ${String((fields['err'] as Error | undefined)?.message)}`),
    child: () => log,
  }
  return { log, errors }
}

/** A folder with a socket at the plugin's name that somebody else listens on. */
async function socketIn(folder: string): Promise<Server> {
  await mkdir(folder)
  const server = createServer((socket) => socket.destroy()).listen(join(folder, socketName(RESOURCE)))
  await once(server, 'listening')
  return server
}

describe('a resource that is advertised to kubelet', () => {
  it('is registered with version, endpoint, name and options, and its devices are told', async () => {
    await using lab = await PluginLab.make({ vfs: vfsOf(3) })
    await lab.kubelet.start()
    await lab.untilHealthy(3)
    expect(lab.healthy()).toEqual(IDS)
    expect(lab.kubelet.registrations).toEqual([
      {
        version: 'v1beta1',
        endpoint: socketName(RESOURCE),
        resourceName: RESOURCE,
        options: { preStartRequired: false, getPreferredAllocationAvailable: true },
      },
    ])
    expect((await lstat(join(lab.dir, socketName(RESOURCE)))).mode & 0o777).toBe(0o600)
    const scrape = await lab.registry.metrics()
    expect(scrape).toContain(`cni_offload_host_device_plugin_devices{resource="${RESOURCE}",health="healthy"} 3`)
    expect(scrape).toContain(`cni_offload_host_device_plugin_watched{resource="${RESOURCE}"} 1`)
    expect(scrape).toContain(`cni_offload_host_device_plugin_registrations_total{resource="${RESOURCE}",outcome="OK"} 1`)
  })

  it('waits for a kubelet whose folder does not exist yet', async () => {
    await using lab = await PluginLab.make({ vfs: vfsOf(3) })
    await expect(lstat(lab.dir)).rejects.toThrow('ENOENT')
    await lab.kubelet.start()
    await lab.untilHealthy(3)
  })

  it('comes back when kubelet has restarted and wiped the folder', async () => {
    await using lab = await PluginLab.make({ vfs: vfsOf(3) })
    await lab.kubelet.start()
    await lab.untilHealthy(3)
    const given = await lab.kubelet.admit(RESOURCE, 1)
    for (let restart = 1; restart <= 3; restart++) {
      lab.kubelet.stop()
      expect(lab.kubelet.devices(RESOURCE)).toBeUndefined()
      await lab.kubelet.start()
      await lab.untilHealthy(3)
      expect(lab.kubelet.registrations).toHaveLength(restart + 1)
    }
    expect(lab.kubelet.available(RESOURCE)).toEqual(IDS.filter((id) => !given.ids.includes(id)))
  })

  it('comes back when the folder itself was removed and made again', async () => {
    await using lab = await PluginLab.make({ vfs: vfsOf(3) })
    await lab.kubelet.start()
    await lab.untilHealthy(3)
    for (let round = 0; round < 3; round++) {
      lab.kubelet.stop()
      await rm(lab.dir, { recursive: true })
      await lab.kubelet.start()
      await lab.untilHealthy(3)
    }
  })

  it('makes its socket again when only that was removed, and registers anew', async () => {
    await using lab = await PluginLab.make({ vfs: vfsOf(3) })
    await lab.kubelet.start()
    await lab.untilHealthy(3)
    await rm(join(lab.dir, socketName(RESOURCE)))
    await lab.kubelet.until(() => lab.kubelet.registrations.length === 2, 'a second registration')
    await lab.untilHealthy(3)
    expect(await lab.kubelet.admit(RESOURCE, 3)).toMatchObject({ ids: expect.arrayContaining(IDS) })
  })

  it('registers anew when kubelet only ends the stream', async () => {
    await using lab = await PluginLab.make({ vfs: vfsOf(3) })
    await lab.kubelet.start()
    await lab.untilHealthy(3)
    lab.kubelet.disconnect(RESOURCE)
    await lab.kubelet.until(() => lab.kubelet.registrations.length === 2, 'a second registration')
    await lab.untilHealthy(3)
  })

  it('tries again, ever more slowly, while kubelet refuses, and says why once', async () => {
    const { log, errors } = errorsOf()
    await using lab = await PluginLab.make({ vfs: vfsOf(3), log })
    lab.kubelet.refuse = () => (lab.kubelet.registrations.length < 3 ? 'the ResourceName "example.com/vf" is invalid' : undefined)
    await lab.kubelet.start()
    await lab.untilHealthy(3)
    expect(lab.kubelet.registrations).toHaveLength(3)
    expect(errors).toEqual([expect.stringContaining('the ResourceName "example.com/vf" is invalid')])
    expect(await lab.registry.metrics()).toContain(`registrations_total{resource="${RESOURCE}",outcome="INVALID_CONFIG"} 2`)
  })

  it('does not hurry because kubelet writes its checkpoint meanwhile', async () => {
    await using lab = await PluginLab.make({ vfs: vfsOf(3) })
    lab.kubelet.refuse = () => 'not now'
    await lab.kubelet.start()
    await lab.kubelet.until(() => lab.kubelet.registrations.length === 1, 'a registration')
    for (let write = 0; write < 20; write++) await writeFile(join(lab.dir, 'kubelet_internal_checkpoint'), String(write))
    // The first pause is at least 250 ms; without one each write would have made a registration.
    expect(lab.kubelet.registrations.length).toBeLessThan(10)
  })

  it('replaces the socket of a daemon that was killed', async () => {
    await using lab = await PluginLab.make({ vfs: vfsOf(3) })
    const aside = join(lab.root, 'aside')
    const dead = await socketIn(aside)
    // Closing unlinks the name under which it was bound; this one stays, as after a SIGKILL.
    await rename(aside, `${aside}.new`)
    dead.close()
    await once(dead, 'close')
    await rename(`${aside}.new`, lab.dir)
    const modeOf = async (): Promise<number> => (await lstat(join(lab.dir, socketName(RESOURCE)))).mode % 0o1000
    await eventually(async () => (await modeOf().catch(() => 0)) === 0o600, 'its own socket is there')
    const kubelet = new Server().listen(join(lab.dir, 'kubelet.sock'))
    await once(kubelet, 'connection')
    await lab.stop()
    kubelet.close()
  })

  it('leaves the socket of another daemon that is alive alone, says so, and takes over when it has gone', async () => {
    const { log, errors } = errorsOf()
    await using lab = await PluginLab.make({ vfs: vfsOf(3), log })
    // Made before the folder is seen: a rename brings both in one step.
    const other = await socketIn(join(lab.root, 'aside'))
    await rename(join(lab.root, 'aside'), lab.dir)
    await eventually(() => errors.length > 0, 'the conflict is said')
    expect(errors[0]).toContain('another process listens on it')
    other.close()
    await once(other, 'close')
    await lab.kubelet.start()
    await lab.untilHealthy(3)
  })

  it('removes its socket when the daemon stops, and kubelet learns of it', async () => {
    await using lab = await PluginLab.make({ vfs: vfsOf(3) })
    await lab.kubelet.start()
    await lab.untilHealthy(3)
    await lab.stop()
    expect(await readdir(lab.dir)).toEqual(['kubelet.sock'])
    await lab.kubelet.until(() => lab.kubelet.devices(RESOURCE) === undefined, 'the plugin is gone')
  })

  it('stops while a kubelet keeps it waiting, or while there is none', async () => {
    const hangs = createServer(() => {})
    await using lab = await PluginLab.make({ vfs: vfsOf(3) })
    await mkdir(lab.dir)
    hangs.listen(join(lab.dir, 'kubelet.sock'))
    const [held] = (await once(hangs, 'connection')) as [Socket]
    await lab.stop()
    held.destroy()
    hangs.close()
    await using none = await PluginLab.make({ vfs: vfsOf(1) })
    await none.stop()
  })

  it('serves several resources, each on a socket of its own', async () => {
    const resources = [
      { name: 'example.com/fast', allocation: 'exact', select: { vfs: '0-1' } },
      { name: 'example.com/slow', allocation: 'exact', select: { vfs: '2' } },
      { name: 'example.com/rest' },
    ] as const
    await using lab = await PluginLab.make({ vfs: vfsOf(5), config: { resources } })
    await lab.kubelet.start()
    await lab.untilHealthy(2, 'example.com/fast')
    await lab.untilHealthy(1, 'example.com/slow')
    await lab.untilHealthy(2, 'example.com/rest')
    expect(lab.healthy('example.com/rest')).toEqual(['0000:01:00.3', '0000:01:00.4'])
    expect(new Set(lab.kubelet.registrations.map(({ endpoint }) => endpoint)).size).toBe(3)
  })

  it('is served to a second kubelet in the same place', async () => {
    await using lab = await PluginLab.make({ vfs: vfsOf(2) })
    await lab.kubelet.start()
    await lab.untilHealthy(2)
    lab.kubelet.stop()
    await using second = await FakeKubelet.start(lab.dir)
    await second.until(() => second.devices(RESOURCE)?.size === 2, 'devices at the second kubelet')
  })
})
