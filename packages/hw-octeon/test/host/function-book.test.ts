import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { localMachine } from '@cni-offload/linux/machine'
import { silentLogger } from '@cni-offload/sdk'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { FunctionBook, type FunctionBookDeps } from '../../src/host/function-book.ts'

const ADDRESS = '0000:01:02.1'
const pristine = { name: 'enp1s0v1', mac: '02:00:00:00:00:01', mtu: 1500 }

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'book-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const deps = (file: string, boot = 'one'): FunctionBookDeps => ({
  files: localMachine(),
  path: join(folder, file),
  boot,
  log: silentLogger,
})

it('remembers over a restart of the daemon, not over one of the machine: its interfaces are new then', async () => {
  const book = await FunctionBook.open(deps('kept.json'))
  expect(book.get(ADDRESS)).toBeUndefined()
  await book.note([[ADDRESS, pristine]])
  expect(book.get(ADDRESS)).toEqual(pristine)
  expect((await FunctionBook.open(deps('kept.json'))).get(ADDRESS)).toEqual(pristine)
  expect((await FunctionBook.open(deps('kept.json', 'two'))).get(ADDRESS)).toBeUndefined()
})

it('keeps what earlier notes said', async () => {
  const book = await FunctionBook.open(deps('more.json'))
  await book.note([[ADDRESS, pristine]])
  await book.note([['0000:01:02.2', { ...pristine, name: 'enp1s0v2' }]])
  const again = await FunctionBook.open(deps('more.json'))
  expect([again.get(ADDRESS)?.name, again.get('0000:01:02.2')?.name]).toEqual(['enp1s0v1', 'enp1s0v2'])
})

it('remembers what the physical function made of a function before the first change, until that is so again', async () => {
  const path = join(folder, 'changed.json')
  // As a daemon of before wrote it.
  await writeFile(path, JSON.stringify({ boot: 'one', functions: { [ADDRESS]: pristine } }))
  const book = await FunctionBook.open(deps('changed.json'))
  expect([book.settingsBefore(ADDRESS), book.admin]).toEqual([undefined, undefined])
  await book.willChange(ADDRESS, { trust: false })
  await book.willChange(ADDRESS, { trust: true })
  await book.willChange('0000:01:02.2', { maxTxRate: 0 })
  await book.noteAdmin(['trust'])
  const again = await FunctionBook.open(deps('changed.json'))
  expect(again.settingsBefore(ADDRESS)).toEqual({ trust: false })
  expect([again.get(ADDRESS), again.admin]).toEqual([pristine, ['trust']])
  await again.isAsBefore(ADDRESS)
  const last = await FunctionBook.open(deps('changed.json'))
  expect([last.settingsBefore(ADDRESS), last.settingsBefore('0000:01:02.2')]).toEqual([undefined, { maxTxRate: 0 }])
  expect((await FunctionBook.open(deps('changed.json', 'two'))).settingsBefore('0000:01:02.2')).toBeUndefined()
})

it('does not know what could not be written', async () => {
  const book = await FunctionBook.open({
    ...deps('full.json'),
    files: { read: localMachine().read, place: () => Promise.reject(Object.assign(new Error('full'), { code: 'ENOSPC' })) },
  })
  await expect(book.note([[ADDRESS, pristine]])).rejects.toMatchObject({
    code: 'IO_FAILURE',
    message: expect.stringContaining('full.json'),
  })
  expect(book.get(ADDRESS)).toBeUndefined()
})

it.each(['{', '{"boot":"one"}', '{"boot":"one","functions":{"0000:01:02.1":{"name":"","mac":"x","mtu":0}}}'])(
  'sets aside what it cannot read, and begins anew: %s',
  async (text) => {
    const path = join(folder, 'bad.json')
    await writeFile(path, text)
    const book = await FunctionBook.open(deps('bad.json'))
    expect(book.get(ADDRESS)).toBeUndefined()
    expect(await readFile(`${path}.unreadable`, 'utf8')).toBe(text)
    await book.note([[ADDRESS, pristine]])
    expect((await FunctionBook.open(deps('bad.json'))).get(ADDRESS)).toEqual(pristine)
  },
)

it('says which file it may not read', async () => {
  await expect(FunctionBook.open(deps('.'))).rejects.toMatchObject({ code: 'IO_FAILURE', message: expect.stringContaining(folder) })
})
