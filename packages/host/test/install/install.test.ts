import { watch } from 'node:fs'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { install, type InstallOptions, uninstall } from '@cni-offload/host/install'
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest'

let dir: string
let options: InstallOptions & { binDir: string; confDir: string; stateDir: string }
const shim = (): string => join(options.binDir, 'offload-cni')
const conflist = (): string => join(options.confDir, '05-cni-offload.conflist')

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'cni-offload-install-'))
  options = {
    shim: join(dir, 'shim'),
    network: 'podnet',
    binDir: join(dir, 'bin'),
    confDir: join(dir, 'net.d'),
    stateDir: join(dir, 'state'),
  }
  await writeFile(options.shim, '#!/bin/sh\necho one\n')
})

afterEach(async () => {
  await rm(dir, { recursive: true, force: true })
})

const modeOf = async (path: string): Promise<number> => (await stat(path)).mode & 0o7777
const tree = async (): Promise<string[]> =>
  (await readdir(dir, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()

test('installs an executable and a configuration that sorts first, with what containerd 1.6 accepts', async () => {
  const report = await install(options)
  expect(report).toEqual({
    files: [
      { path: shim(), action: 'written' },
      { path: conflist(), action: 'written' },
    ],
    removed: [],
  })
  expect(await modeOf(shim())).toBe(0o755)
  expect(spawnSync(shim(), { encoding: 'utf8' }).stdout).toBe('one\n')
  expect(await modeOf(conflist())).toBe(0o600)
  expect(JSON.parse(await readFile(conflist(), 'utf8'))).toEqual({
    cniVersion: '1.0.0',
    name: 'podnet',
    plugins: [{ type: 'offload-cni', capabilities: { portMappings: true, bandwidth: true } }],
  })
})

test('version, capabilities and chained plugins are those of the options', async () => {
  const chain = [{ type: 'tuning', sysctl: { 'net.core.somaxconn': '500' } }]
  await install({ ...options, cniVersion: '1.1.0', capabilities: [], chain })
  expect(JSON.parse(await readFile(conflist(), 'utf8'))).toEqual({
    cniVersion: '1.1.0',
    name: 'podnet',
    plugins: [{ type: 'offload-cni' }, ...chain],
  })
})

test('a second time nothing changes; a new version replaces the old one, also while that one runs', async () => {
  await install(options)
  const before = await stat(shim())
  expect((await install(options)).files.map(({ action }) => action)).toEqual(['unchanged', 'unchanged'])
  expect((await stat(shim())).ino).toBe(before.ino)

  await writeFile(options.shim, await readFile('/bin/sleep'))
  await install(options)
  const running = spawn(shim(), ['1000'])
  await once(running, 'spawn')
  await writeFile(options.shim, '#!/bin/sh\necho two\n')
  expect((await install(options)).files.map(({ action }) => action)).toEqual(['written', 'unchanged'])
  expect(spawnSync(shim(), { encoding: 'utf8' }).stdout).toBe('two\n')
  expect(running.exitCode).toBeNull()
  running.kill()
  await once(running, 'exit')
})

test('wrong permissions are put right', async () => {
  await install(options)
  await chmod(shim(), 0o600)
  expect((await install(options)).files.map(({ action }) => action)).toEqual(['written', 'unchanged'])
  expect(await modeOf(shim())).toBe(0o755)
})

test('uninstalling leaves exactly what was there before, and may be repeated', async () => {
  await mkdir(options.confDir)
  await writeFile(join(options.confDir, '10-other.conflist'), '{}')
  const before = await tree()
  await install(options)
  expect((await uninstall(options)).files).toEqual([
    { path: conflist(), action: 'removed' },
    { path: shim(), action: 'removed' },
  ])
  expect(await tree()).toEqual(before)
  expect((await uninstall(options)).files).toEqual([])
})

test.each(['offload-cni', '05-cni-offload.conflist'])(
  'a file of somebody else called %s is refused, and nothing is touched',
  async (name) => {
    const path = name === 'offload-cni' ? shim() : conflist()
    await mkdir(options.binDir)
    await mkdir(options.confDir)
    await writeFile(path, 'theirs')
    const before = await tree()
    await expect(install(options)).rejects.toMatchObject({
      code: 'ALREADY_EXISTS',
      message: expect.stringContaining(path),
      hint: expect.stringContaining('--replace'),
    })
    expect(await tree()).toEqual(before)
    expect(await readFile(path, 'utf8')).toBe('theirs')
  },
)

test('a file of somebody else that is to be replaced comes back with its permissions', async () => {
  await mkdir(options.confDir)
  await writeFile(conflist(), 'theirs', { mode: 0o640 })
  expect((await install({ ...options, replace: true })).files.map(({ action }) => action)).toEqual(['written', 'replaced'])
  await install(options)
  expect((await uninstall(options)).files).toEqual([
    { path: conflist(), action: 'restored' },
    { path: shim(), action: 'removed' },
  ])
  expect(await readFile(conflist(), 'utf8')).toBe('theirs')
  expect(await modeOf(conflist())).toBe(0o640)
  expect(await readdir(options.stateDir)).toEqual([])
})

test('a configuration that was edited is neither overwritten nor removed', async () => {
  await install(options)
  await writeFile(conflist(), 'edited')
  await expect(install({ ...options, cniVersion: '1.1.0' })).rejects.toMatchObject({ code: 'ALREADY_EXISTS' })
  expect((await uninstall(options)).files).toEqual([
    { path: conflist(), action: 'kept' },
    { path: shim(), action: 'removed' },
  ])
  expect(await readFile(conflist(), 'utf8')).toBe('edited')
  await rm(conflist())
  expect((await uninstall(options)).files).toEqual([{ path: conflist(), action: 'absent' }])
  expect((await uninstall(options)).files).toEqual([])
})

test('the receipt is lost: files that are as they would be installed are ours', async () => {
  await install(options)
  await rm(options.stateDir, { recursive: true })
  expect((await install(options)).files.map(({ action }) => action)).toEqual(['unchanged', 'unchanged'])
  expect((await uninstall(options)).files.map(({ action }) => action)).toEqual(['removed', 'removed'])
})

test('other names and folders: what the earlier installation had is taken away', async () => {
  await install(options)
  const report = await install({ ...options, fileName: '00-first.conflist' })
  expect(report.removed).toEqual([{ path: conflist(), action: 'removed' }])
  expect(await readdir(options.confDir)).toEqual(['00-first.conflist'])
})

test('a crash before the files are in place: the next installation cleans up, uninstalling alone as well', async () => {
  const crash = async (): Promise<void> => {
    // What a process leaves that ended between the receipt and the first rename, while it wrote its temporary files.
    await install(options)
    await rm(shim())
    await rm(conflist())
    await writeFile(join(options.binDir, '.offload-cni.cni-offload-0b5c.tmp'), 'half')
    await writeFile(join(options.confDir, '.05-cni-offload.conflist.cni-offload-77aa.tmp'), '{"cni')
    await writeFile(join(options.stateDir, '.receipt.json.cni-offload-12.tmp'), '{')
  }
  await crash()
  expect((await install(options)).files.map(({ action }) => action)).toEqual(['written', 'written'])
  expect(await readdir(options.binDir)).toEqual(['offload-cni'])
  expect(await readdir(options.confDir)).toEqual(['05-cni-offload.conflist'])
  expect(await readdir(options.stateDir)).toEqual(['receipt.json'])
  await crash()
  expect((await uninstall(options)).files.map(({ action }) => action)).toEqual(['absent', 'absent'])
  expect([...(await readdir(options.binDir)), ...(await readdir(options.confDir)), ...(await readdir(options.stateDir))]).toEqual([])
})

test.each(['stateDir', 'binDir', 'confDir'] as const)(
  'killed when it first touches its %s, during an upgrade: every file is the old or the new one, and ours',
  async (folder) => {
    await install(options)
    const old = await readFile(shim(), 'utf8')
    await writeFile(options.shim, '#!/bin/sh\necho two\n')
    const upgrade = { ...options, cniVersion: '1.1.0' as const }
    const watcher = watch(options[folder])
    onTestFinished(() => watcher.close())
    const code = `import { install } from '@cni-offload/host/install'; await install(${JSON.stringify(upgrade)})`
    const child = spawn(process.execPath, ['--input-type=module', '-e', code], { cwd: import.meta.dirname, stdio: 'inherit' })
    const ended = once(child, 'exit')
    await Promise.race([once(watcher, 'change'), ended])
    child.kill('SIGKILL')
    await ended
    expect([old, '#!/bin/sh\necho two\n']).toContain(await readFile(shim(), 'utf8'))
    expect(['1.0.0', '1.1.0']).toContain(JSON.parse(await readFile(conflist(), 'utf8')).cniVersion)
    await install(upgrade)
    expect(await tree()).toEqual([shim(), conflist(), options.shim, join(options.stateDir, 'receipt.json')].sort())
    expect((await uninstall(options)).files.map(({ action }) => action)).toEqual(['removed', 'removed'])
    expect(await tree()).toEqual([options.shim])
  },
)

test('a write that fails leaves nothing half done and says which file', async () => {
  await mkdir(options.confDir)
  await mkdir(conflist())
  await expect(install(options)).rejects.toMatchObject({ code: 'IO_FAILURE', message: expect.stringContaining(conflist()) })
  expect(await tree()).toEqual([options.shim])
})

test.each([
  ['fileName', { fileName: 'x.conf' }, /fileName.*x\.conf/],
  ['network', { network: 'a b' }, /network.*a b/],
  ['confDir', { confDir: 'net.d' }, /confDir.*absolute/],
  ['cniVersion', { cniVersion: '0.2.0' as const }, /cniVersion.*0\.2\.0/],
  ['chain', { chain: [{ type: '../x' }] }, /chain\.0\.type/],
  ['shim', { shim: '/nowhere/offload-cni' }, /shim.*nowhere/],
])('%s that cannot be is refused by name and value', async (_, wrong, says) => {
  await expect(install({ ...options, ...wrong })).rejects.toMatchObject({ code: 'INVALID_CONFIG', message: expect.stringMatching(says) })
  expect(await tree()).toEqual([options.shim])
})
