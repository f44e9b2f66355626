import { formatKey, parseKey } from '@cni-offload/adapter-cilium/ipsec'
import { causeMessages, OffloadError } from '@cni-offload/sdk'
import { failed, FakeKubectl, forbidden, notFound, prints } from '@cni-offload/testing/kubectl'
import { parse } from 'yaml'
import { describe, expect, it } from 'vitest'
import { dryRun, enable } from '../../src/ipsec/enable.ts'
import { rotate } from '../../src/ipsec/rotate.ts'
import { Kubectl } from '../../src/kubectl/kubectl.ts'
import { GET_NODES, GET_SECRET, nodesWith, PLACE, secretOf, secretWith, someKey, within } from './support.ts'

const ENABLE = { place: PLACE, choice: {} }
const ROTATE = { place: PLACE, force: false, dryRun: false }
const kubectlOf = (fake: FakeKubectl): Kubectl => new Kubectl({ executable: fake.executable })

/** What was written, of the only call that writes. */
const written = (
  fake: FakeKubectl,
): {
  readonly metadata: unknown
  readonly data: Readonly<Record<string, string>>
  readonly stringData: Readonly<Record<string, string>>
} => {
  const [call, ...others] = fake.calls.filter(({ args }) => args[0] !== 'get')
  expect(others).toEqual([])
  return JSON.parse(call?.stdin ?? '{}')
}

/** All that an error could show. */
const told = async (run: Promise<unknown>): Promise<OffloadError & { readonly all: string }> => {
  const error = await run.then(
    () => new Error('it succeeded'),
    (reason: unknown) => reason,
  )
  if (!OffloadError.is(error)) throw error
  return Object.assign(error, { all: [error.message, error.hint, error.stack, ...causeMessages(error), JSON.stringify(error)].join('\n') })
}

describe('offload ipsec enable', { timeout: 120_000 }, () => {
  it('makes the secret with a key that Cilium takes, which only goes in by standard input, and says what to set', async () => {
    await using fake = await FakeKubectl.start()
    fake.expect('create -f -', prints('secret/cilium-ipsec-keys created'))
    const said = await enable(kubectlOf(fake), ENABLE, within())
    const manifest = written(fake)
    expect(manifest).toMatchObject({ kind: 'Secret', metadata: { namespace: 'kube-system', name: 'cilium-ipsec-keys' } })
    const key = parseKey(manifest.stringData['keys'] ?? '')
    expect(key).toMatchObject({ spi: 3, perPair: true, algorithm: 'rfc4106(gcm(aes))', icvBits: 128 })
    expect(said).toContain('encryption.type=ipsec')
    expect(said).not.toContain('secretName')
    for (const text of [said, ...fake.calls.flatMap(({ args }) => args)]) expect(text).not.toContain(secretOf(key))
    fake.verify()
  })

  it('names the secret in what to set, if it has another name', async () => {
    await using fake = await FakeKubectl.start()
    fake.expect('create -f -', prints(''))
    const said = await enable(
      kubectlOf(fake),
      { place: { ...PLACE, name: 'mine' }, choice: { algorithm: 'cbc-sha256', spi: 15 } },
      within(),
    )
    expect(said).toMatch(/secret kube-system\/mine made: SPI 15.*cbc\(aes\)/)
    expect(said).toContain('encryption.ipsec.secretName=mine')
  })

  it('never overwrites one', async () => {
    await using fake = await FakeKubectl.start()
    fake.expect(
      'create -f -',
      failed('Error from server (AlreadyExists): error when creating "STDIN": secrets "cilium-ipsec-keys" already exists'),
    )
    expect(await told(enable(kubectlOf(fake), ENABLE, within()))).toMatchObject({
      code: 'ALREADY_EXISTS',
      message: 'secret kube-system/cilium-ipsec-keys is there already; nothing was changed',
      hint: expect.stringContaining('offload ipsec rotate'),
    })
    fake.verify()
  })

  it.each([
    ['the API server', 'Error from server (BadRequest): cannot read', 'IO_FAILURE'],
    ['who it asks for admission', 'Error from server (Forbidden): admission webhook "policy" denied the request:', 'PERMISSION_DENIED'],
  ])('shows nothing of the key when %s quotes it', async (_who, said, code) => {
    await using fake = await FakeKubectl.start()
    fake.expect('create -f -', ({ stdin }) => failed(`${said} ${stdin}`))
    const error = await told(enable(kubectlOf(fake), ENABLE, within()))
    expect(error).toMatchObject({ code, message: expect.stringContaining('exit code 1; what it said is not shown') })
    expect(error.all).not.toContain(secretOf(parseKey(written(fake).stringData['keys'] ?? '')).slice(0, 8))
  })

  it('shows why it is refused where that tells nothing of the key', async () => {
    await using fake = await FakeKubectl.start()
    fake.expect('create -f -', forbidden('create', 'secrets', 'kube-system'))
    expect(await told(enable(kubectlOf(fake), ENABLE, within()))).toMatchObject({
      message: expect.stringContaining('cannot create resource'),
    })
  })

  it('only prints the manifest in a dry run, with a key if that is wanted', () => {
    expect(parse(dryRun(ENABLE, false))).toMatchObject({ stringData: { keys: expect.stringContaining('--show-key') } })
    const { stringData } = parse(dryRun({ ...ENABLE, choice: { algorithm: 'gcm-256' } }, true)) as { stringData: { keys: string } }
    expect(parseKey(stringData.keys)).toMatchObject({ key: { length: 36 } })
  })
})

describe('offload ipsec rotate', { timeout: 120_000 }, () => {
  it('writes the next key alone, with the version that was read, and keeps all else of the secret', async () => {
    const key = someKey(15)
    await using fake = await FakeKubectl.start({ ordered: true })
    fake
      .expect(GET_SECRET, prints(secretWith(`14 rfc4106(gcm(aes)) ${'ab'.repeat(20)} 128\n${formatKey(key)}\n`)))
      .expect(GET_NODES, prints(nodesWith({ a: 15, b: 15, c: 0 })))
      .expect('replace -f -', prints('secret/cilium-ipsec-keys replaced'))
    const done = await rotate(kubectlOf(fake), ROTATE, within())
    fake.verify()
    expect(done).toMatchObject({ from: 15, to: 1 })
    expect(done.text).toContain('SPI 15 on a, b; none on c')
    const { data, metadata } = written(fake)
    expect(metadata).toMatchObject({ resourceVersion: '4711', labels: { team: 'net' } })
    expect(data['other']).toBe('b3RoZXI=')
    const line = Buffer.from(data['keys'] ?? '', 'base64').toString()
    expect(line.trim().split('\n')).toHaveLength(1)
    const next = parseKey(line)
    expect(next).toMatchObject({ spi: 1, perPair: true, algorithm: 'rfc4106(gcm(aes))', key: { length: 20 }, icvBits: 128 })
    expect(secretOf(next)).not.toBe(secretOf(key))
    for (const text of [done.text, ...fake.calls.flatMap(({ args }) => args)])
      for (const one of [key, next]) expect(text).not.toContain(secretOf(one))
  })

  it('is refused while nodes send with another key, unless it is forced; a dry run writes nothing', async () => {
    await using fake = await FakeKubectl.start()
    fake
      .expect(GET_SECRET, prints(secretWith(someKey(4))), { times: 'any' })
      .expect(GET_NODES, prints(nodesWith({ a: 4, b: 3 })))
      .expect('replace -f -', prints(''))
    expect(await told(rotate(kubectlOf(fake), ROTATE, within()))).toMatchObject({
      code: 'NOT_READY',
      message: 'the secret has SPI 4, but nodes send with SPI 3 on b: a rotation is under way',
      hint: expect.stringContaining('--force'),
    })
    expect((await rotate(kubectlOf(fake), { ...ROTATE, force: true, dryRun: true }, within())).text).toContain('SPI 4 would become 5')
    expect(fake.calls.filter(({ args }) => args[0] === 'replace')).toEqual([])
    expect((await rotate(kubectlOf(fake), { ...ROTATE, force: true }, within())).to).toBe(5)
    fake.verify()
  })

  it('shows nothing of the key when it is quoted as it is written', async () => {
    await using fake = await FakeKubectl.start()
    fake
      .expect(GET_SECRET, prints(secretWith(someKey())))
      .expect(GET_NODES, prints(nodesWith({ a: 3 })))
      .expect('replace -f -', ({ stdin }) => failed(`Error from server (Forbidden): denied: ${stdin}`))
    const error = await told(rotate(kubectlOf(fake), ROTATE, within()))
    expect(error.code).toBe('PERMISSION_DENIED')
    expect(error.all).not.toContain((written(fake).data['keys'] ?? '').slice(-20))
  })

  it('does not overwrite what somebody else writes meanwhile', async () => {
    await using fake = await FakeKubectl.start()
    fake
      .expect(GET_SECRET, prints(secretWith(someKey())))
      .expect(GET_NODES, prints(nodesWith({ a: 3 })))
      .expect(
        'replace -f -',
        failed('Error from server (Conflict): Operation cannot be fulfilled on secrets "cilium-ipsec-keys": the object has been modified'),
      )
    expect(await told(rotate(kubectlOf(fake), ROTATE, within()))).toMatchObject({
      kind: 'conflict',
      hint: expect.stringContaining('again'),
    })
  })

  const broken: readonly (readonly [string, unknown, string, string])[] = [
    ['has no keys', secretWith(someKey(), { data: { other: '' } }), 'INVALID_CONFIG', 'data.keys is missing'],
    ['has a broken key', secretWith('3 rfc4106(gcm(aes)) deadbeefcafe 128'), 'INVALID_CONFIG', 'keys, key of rfc4106(gcm(aes)): 6 bytes'],
    ['cannot be changed', secretWith(someKey(), { immutable: true }), 'INVALID_CONFIG', 'immutable = true'],
    ['has no version', secretWith(someKey(), { metadata: {} }), 'UNDECODABLE', 'metadata.resourceVersion'],
    ['is no JSON', 'deadbeefcafe', 'UNDECODABLE', 'no JSON'],
    ['has data that are none', secretWith(someKey(), { data: { keys: 'deadbeefcafe!' } }), 'UNDECODABLE', 'data.keys'],
  ]
  it.each(broken)('is refused where the secret %s, and nothing of it is shown', async (_title, secret, code, message) => {
    await using fake = await FakeKubectl.start()
    fake.expect(GET_SECRET, prints(secret)).expect(GET_NODES, prints(nodesWith({})), { times: 'any' })
    const error = await told(rotate(kubectlOf(fake), ROTATE, within()))
    expect(error).toMatchObject({ code, message: expect.stringContaining(message) })
    expect(error.all).not.toContain('deadbeef')
    fake.verify()
  })

  it('is refused without a secret, and where nobody may look', async () => {
    await using fake = await FakeKubectl.start()
    fake.expect(GET_SECRET, notFound('secrets', 'cilium-ipsec-keys')).expect(GET_SECRET, forbidden('get', 'secrets', 'kube-system'))
    expect(await told(rotate(kubectlOf(fake), ROTATE, within()))).toMatchObject({
      code: 'NOT_FOUND',
      message: 'secret kube-system/cilium-ipsec-keys is not there',
      hint: expect.stringContaining('offload ipsec enable'),
    })
    expect(await told(rotate(kubectlOf(fake), ROTATE, within()))).toMatchObject({ code: 'PERMISSION_DENIED' })
    fake.verify()
  })
})
