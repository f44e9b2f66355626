import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseAddress } from '../src/address.ts'
import { identityFromSan, identityUri, parseIdentityUri } from '../src/identity.ts'

test('an identity survives its URI', () => {
  fc.assert(
    fc.property(fc.constantFrom('host', 'agent'), fc.stringMatching(/^[a-z0-9]([a-z0-9.-]{0,60}[a-z0-9])?$/), (role, node) => {
      expect(parseIdentityUri(identityUri({ role, node }))).toEqual({ role, node })
    }),
  )
})

test.each([
  'spiffe://cni-offload/host/',
  'spiffe://cni-offload/host',
  'spiffe://cni-offload/host/a/b',
  'spiffe://cni-offload/host/..',
  'spiffe://cni-offload/host/a?x',
  'spiffe://cni-offload/admin/a',
  'spiffe://cni-offload.evil/host/a',
  'spiffe://other/host/a',
  'https://cni-offload/host/a',
  ' spiffe://cni-offload/host/a',
  'spiffe://cni-offload/host/a\n',
  `spiffe://cni-offload/host/${'a'.repeat(254)}`,
])('%j is nobody', (uri) => {
  expect(parseIdentityUri(uri)).toBeUndefined()
})

test('only one URI may be in a certificate, and text inside other entries is none', () => {
  expect(identityFromSan('DNS:x, URI:spiffe://cni-offload/host/a')).toEqual({ role: 'host', node: 'a' })
  expect(identityFromSan('URI:spiffe://cni-offload/host/a, URI:spiffe://cni-offload/host/b')).toBeUndefined()
  expect(identityFromSan('DNS:"x, URI:spiffe://cni-offload/host/a"')).toBeUndefined()
  expect(identityFromSan('DNS:URI:spiffe://cni-offload/host/a')).toBeUndefined()
  expect(identityFromSan('')).toBeUndefined()
  expect(identityFromSan(undefined)).toBeUndefined()
})

test.each([
  ['tcp://10.0.0.1:8000', '10.0.0.1:8000', { host: '10.0.0.1', port: 8000 }],
  ['tcp://dpu-1.example:0', 'dpu-1.example:0', { host: 'dpu-1.example', port: 0 }],
  ['tcp://[fe80::1%eth0]:80', '[fe80::1%eth0]:80', { host: 'fe80::1%eth0', port: 80 }],
  ['unix:/run/a.sock', 'unix:/run/a.sock', { path: '/run/a.sock' }],
  ['unix:///run/a.sock', 'unix:/run/a.sock', { path: '/run/a.sock' }],
])('%s is an address', (text, target, connect) => {
  expect(parseAddress(text)).toMatchObject({ target, connect })
})
