import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { errnoOf, ifPresent, localMachine } from '../../src/machine/index.ts'

let root: string
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'machine-'))
  await mkdir(join(root, 'sys/devices/a'), { recursive: true })
  await writeFile(join(root, 'sys/devices/a/vendor'), '0x177d\n')
  await symlink('../devices/a', join(root, 'sys/link'))
})
afterAll(() => rm(root, { recursive: true, force: true }))

it('reads, lists and follows below its root', async () => {
  const machine = localMachine(root)
  expect(await machine.read('/sys/devices/a/vendor')).toBe('0x177d\n')
  expect(await machine.list('/sys/devices')).toEqual(['a'])
  expect(await machine.readlink('/sys/link')).toBe('../devices/a')
})

it('tells the reason of the system, and what is absent from what is refused', async () => {
  const machine = localMachine(root)
  await expect(machine.read('/sys/none')).rejects.toSatisfy((error) => errnoOf(error) === 'ENOENT')
  expect(await ifPresent(machine.read('/sys/none'))).toBeUndefined()
  await expect(ifPresent(machine.read('/sys/devices'))).rejects.toSatisfy((error) => errnoOf(error) === 'EISDIR')
  expect(errnoOf(new Error('no reason'))).toBeUndefined()
})

it('writes only to what exists: a misspelt attribute of the kernel is not made a file', async () => {
  const machine = localMachine(root)
  await machine.write('/sys/devices/a/vendor', '0x1af4\n')
  expect(await readFile(join(root, 'sys/devices/a/vendor'), 'utf8')).toBe('0x1af4\n')
  await expect(machine.write('/sys/devices/a/vendr', '1')).rejects.toSatisfy((error) => errnoOf(error) === 'ENOENT')
})

it('the kernel says why it refuses a write', async () => {
  const machine = localMachine()
  await expect(machine.write('/proc/self/oom_score_adj', 'much')).rejects.toSatisfy((error) => errnoOf(error) === 'EINVAL')
})

it.skipIf(process.getuid?.() !== 0)('writes to files of the kernel that can only be written (needs root)', async () => {
  const refusal = localMachine().write('/sys/bus/platform/drivers_probe', 'no-such-device')
  // That there is no such device only an open file can say; a read-only /sys says so before.
  await expect(refusal).rejects.toSatisfy((error) => ['ENODEV', 'EINVAL', 'EROFS'].includes(errnoOf(error) ?? ''))
})

it('places a file whole, with its mode, over an old one, and leaves nothing beside it', async () => {
  const machine = localMachine(root)
  await machine.place('/etc/octeon/cfg', 'one')
  await machine.place('/etc/octeon/cfg', 'two', 0o600)
  expect(await machine.read('/etc/octeon/cfg')).toBe('two')
  expect((await stat(join(root, 'etc/octeon/cfg'))).mode & 0o777).toBe(0o600)
  await machine.place('/etc/octeon/cfg', 'two')
  expect((await stat(join(root, 'etc/octeon/cfg'))).mode & 0o777).toBe(0o600)
  await mkdir(join(root, 'etc/octeon/folder'))
  await expect(machine.place('/etc/octeon/folder', 'x')).rejects.toSatisfy((error) => errnoOf(error) === 'EISDIR')
  expect(await readdir(join(root, 'etc/octeon'))).toEqual(['cfg', 'folder'])
  await machine.remove('/etc/octeon/cfg')
  await machine.remove('/etc/octeon/cfg')
  expect(await ifPresent(machine.read('/etc/octeon/cfg'))).toBeUndefined()
})

it('runs commands without a shell, and tells how they ended', async () => {
  const { run } = localMachine()
  const signal = AbortSignal.timeout(30_000)
  expect(await run(['printf', '%s', '$HOME;'], signal)).toMatchObject({ exitCode: 0, stdout: '$HOME;' })
  expect(await run(['ls', '/no/such'], signal)).toMatchObject({ exitCode: 2, stdout: '', stderr: expect.stringContaining('/no/such') })
  await expect(run(['no-such-command'], signal)).rejects.toSatisfy((error) => errnoOf(error) === 'ENOENT')
  await expect(run(['sleep', '60'], AbortSignal.abort(new Error('no more')))).rejects.toThrow('no more')
})
