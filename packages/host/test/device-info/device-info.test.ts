import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { OffloadError } from '@cni-offload/sdk'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type DeviceInfo, DeviceInfoFiles, vfDeviceInfo } from '../../src/index.ts'

const INFO: DeviceInfo = { type: 'pci', version: '1.1.0', pci: { 'pci-address': '0000:18:02.5', 'pf-pci-address': '0000:18:00.0' } }

describe('device information', () => {
  let outside: string
  let dir: string
  let files: DeviceInfoFiles

  beforeEach(async () => {
    outside = await mkdtemp(join(tmpdir(), 'devinfo-'))
    dir = join(outside, 'run', 'devinfo')
    files = new DeviceInfoFiles(dir)
  })

  afterEach(async () => {
    await rm(outside, { recursive: true, force: true })
  })

  test('a VF is described by its PCI addresses, one without is not described', () => {
    expect(vfDeviceInfo({ pciAddress: '0000:18:02.5', pfPciAddress: '0000:18:00.0' })).toEqual(INFO)
    expect(vfDeviceInfo({ pciAddress: '0000:18:02.5' })).toEqual({ type: 'pci', version: '1.1.0', pci: { 'pci-address': '0000:18:02.5' } })
    expect(vfDeviceInfo({})).toBeUndefined()
  })

  test('the folders are made, the file is whole, readable for all, and alone', async () => {
    await files.write('cni', 'net-1_net1', INFO)
    expect(JSON.parse(await readFile(join(dir, 'cni', 'net-1_net1'), 'utf8'))).toEqual(INFO)
    expect((await stat(join(dir, 'cni', 'net-1_net1'))).mode & 0o777).toBe(0o644)
    expect(await readdir(join(dir, 'cni'))).toEqual(['net-1_net1'])
    expect(await files.read('cni', 'net-1_net1')).toEqual(INFO)
  })

  test('writing again replaces; removing is idempotent', async () => {
    await files.write('dp', 'a', INFO)
    await files.write('dp', 'a', { ...INFO, pci: { 'pci-address': '0000:18:02.6' } })
    expect((await files.read('dp', 'a'))?.pci).toEqual({ 'pci-address': '0000:18:02.6' })
    await files.remove('dp', 'a')
    await files.remove('dp', 'a')
    await files.remove('cni', 'never')
    expect(await files.read('dp', 'a')).toBeUndefined()
  })

  test('parallel writers leave one whole file and nothing else', async () => {
    const infos = Array.from({ length: 20 }, (_, i) => ({ ...INFO, pci: { 'pci-address': `0000:00:00.${i}` } }))
    await Promise.all(infos.map((info) => files.write('cni', 'same', info)))
    expect(await readdir(join(dir, 'cni'))).toEqual(['same'])
    expect(infos).toContainEqual(await files.read('cni', 'same'))
  })

  test('what a writer that was killed has left goes, and only that', async () => {
    await files.write('cni', 'net', INFO)
    // As it is called while it is written, seen by a reader of the folder that is faster.
    const left = '.net.0000:18:02.5.8a2f6f0e-7d1f-4f43-9f0c-3d4b4c2c5a11'
    const others = ['.net.0000:18:02.6.8a2f6f0e', '.net1.0000:18:02.5.8a2f6f0e', 'net']
    for (const name of [left, ...others.slice(0, 2)]) await writeFile(join(dir, 'cni', name), '{')
    await files.removeUnfinished('cni', 'net', '0000:18:02.5')
    expect((await readdir(join(dir, 'cni'))).toSorted()).toEqual(others.toSorted())
    await files.removeUnfinished('cni', 'net', '0000:18:02.5')
    await files.removeUnfinished('dp', 'never', undefined)
  })

  test('a writer that is killed in the middle leaves what is found by its name', async () => {
    const writer = `
      import { DeviceInfoFiles } from ${JSON.stringify(import.meta.resolve('../../src/index.ts'))}
      import { open } from 'node:fs/promises'
      const any = await open('/dev/null')
      Object.getPrototypeOf(any).writeFile = () => process.kill(process.pid, 'SIGKILL')
      await new DeviceInfoFiles(${JSON.stringify(dir)}).write('cni', 'net', ${JSON.stringify(INFO)})`
    const child = spawn(process.execPath, ['--input-type=module', '-e', writer], { stdio: 'inherit' })
    expect(await once(child, 'exit')).toEqual([null, 'SIGKILL'])
    expect(await readdir(join(dir, 'cni'))).toHaveLength(1)
    await files.removeUnfinished('cni', 'net', '0000:18:02.5')
    expect(await readdir(join(dir, 'cni'))).toEqual([])
  })

  test('the name of a device plugin’s file is the specification’s', () => {
    expect(files.devicePluginFile('cni-offload.io/vf', '0000:18:02.5')).toBe('cni-offload.io-vf-0000:18:02.5-device.json')
    expect(files.devicePluginFile('cni-offload.io/vf', 'soft0/3')).toBe('cni-offload.io-vf-soft0-3-device.json')
  })

  test('a path that a runtime gives must be that of a file directly in cni/', () => {
    expect(files.cniFile(join(dir, 'cni', 'podnet-1234_net1'))).toBe('podnet-1234_net1')
    for (const path of ['', 'x', 'cni/x', `${dir}/x`, `${dir}/dp/x`, `${dir}/cni`, `${dir}/cni/`, `${dir}/cni/../x`, `${dir}/cni/a/x`])
      expect(() => files.cniFile(path), path).toThrow(expect.objectContaining({ code: 'INVALID_NETCONF' }))
    for (const name of ['.', '..', 'a\0b', 'x'.repeat(201)])
      expect(() => files.cniFile(`${dir}/cni/${name}`), name).toThrow(expect.objectContaining({ code: 'INVALID_NETCONF' }))
  })

  test('whatever the path, what is accepted stays in the folder', () => {
    const piece = fc.oneof(fc.constantFrom('.', '..', 'cni', 'dp', '', dir), fc.string())
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 6 }), (pieces) => {
        const path = `${dir}/${pieces.join('/')}`
        try {
          expect(join(dir, 'cni', files.cniFile(path))).toBe(path)
        } catch (error) {
          expect(OffloadError.is(error) && error.code).toBe('INVALID_NETCONF')
        }
      }),
    )
  })

  test('a symbolic link in place of the folder is refused, and what it points to is left alone', async () => {
    await mkdir(dir, { recursive: true })
    await mkdir(join(outside, 'secret'))
    await writeFile(join(outside, 'secret', 'file'), JSON.stringify(INFO))
    await symlink(join(outside, 'secret'), join(dir, 'cni'))
    for (const attempt of [() => files.write('cni', 'file', INFO), () => files.remove('cni', 'file')])
      await expect(attempt()).rejects.toMatchObject({ code: 'IO_FAILURE', message: expect.stringContaining(`${dir}/cni/file`) })
    expect(await readdir(join(outside, 'secret'))).toEqual(['file'])
  })

  test('a symbolic link in place of the file is never followed', async () => {
    await mkdir(join(dir, 'cni'), { recursive: true })
    const target = join(outside, 'target')
    await writeFile(target, JSON.stringify(INFO))
    await symlink(target, join(dir, 'cni', 'file'))
    expect(await files.read('cni', 'file')).toBeUndefined()
    await files.write('cni', 'file', { ...INFO, pci: { 'pci-address': '0000:00:00.1' } })
    expect(JSON.parse(await readFile(target, 'utf8'))).toEqual(INFO)
    await rm(join(dir, 'cni', 'file'))
    await symlink(target, join(dir, 'cni', 'file'))
    await files.remove('cni', 'file')
    expect(existsSync(target)).toBe(true)
    expect(await readdir(join(dir, 'cni'))).toEqual([])
  })

  test('what is no device information reads as nothing; other types pass', async () => {
    await mkdir(join(dir, 'cni'), { recursive: true })
    for (const text of ['', '{', '[]', '{"type":"pci","version":"1.1.0"}', '{"type":"tap","version":"1.1.0"}', 'x'.repeat(70_000)]) {
      await writeFile(join(dir, 'cni', 'file'), text)
      expect(await files.read('cni', 'file'), text.slice(0, 20)).toBeUndefined()
    }
    const vdpa = { type: 'vdpa', version: '1.1.0', vdpa: { 'parent-device': 'vdpa3', driver: 'vhost', path: '/dev/vhost-vdpa0' } }
    await writeFile(join(dir, 'cni', 'file'), JSON.stringify(vdpa))
    expect(await files.read('cni', 'file')).toEqual(vdpa)
  })
})
