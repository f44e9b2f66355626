import { Metadata } from '@grpc/grpc-js'

const KEY = 'offload-request-id'
const SAFE = /^[\x21-\x7e]{1,128}$/

/** Metadata of a call. An id that a header can't carry is left out: it serves logs only. */
export function requestMetadata(requestId: string | undefined): Metadata {
  const metadata = new Metadata()
  if (requestId !== undefined && SAFE.test(requestId)) metadata.set(KEY, requestId)
  return metadata
}

/** The id that the caller sent, if it is a sane one. */
export function requestIdOf(metadata: Metadata): string | undefined {
  const value = metadata.get(KEY)[0]
  return typeof value === 'string' && SAFE.test(value) ? value : undefined
}
