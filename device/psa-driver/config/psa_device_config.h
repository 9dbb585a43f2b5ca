/* The cryptography that mbedtls_device_config.h needs, in the words of the PSA. */
#ifndef PSA_DEVICE_CONFIG_H
#define PSA_DEVICE_CONFIG_H

#define PSA_WANT_ECC_SECP_R1_256                1
#define PSA_WANT_ECC_SECP_R1_384                1
#define PSA_WANT_ALG_ECDH                       1
#define PSA_WANT_ALG_ECDSA                      1
#define PSA_WANT_ALG_ECDSA_ANY                  1
#define PSA_WANT_KEY_TYPE_ECC_PUBLIC_KEY        1
#define PSA_WANT_KEY_TYPE_ECC_KEY_PAIR_BASIC    1
#define PSA_WANT_KEY_TYPE_ECC_KEY_PAIR_IMPORT   1
#define PSA_WANT_KEY_TYPE_ECC_KEY_PAIR_EXPORT   1
#define PSA_WANT_KEY_TYPE_ECC_KEY_PAIR_GENERATE 1

/* Servers that have an RSA key: their signatures are verified, nothing else is RSA. */
#define PSA_WANT_KEY_TYPE_RSA_PUBLIC_KEY 1
#define PSA_WANT_ALG_RSA_PKCS1V15_SIGN   1
#define PSA_WANT_ALG_RSA_PSS             1

#define PSA_WANT_ALG_SHA_1           1
#define PSA_WANT_ALG_SHA_256         1
#define PSA_WANT_ALG_SHA_384         1
#define PSA_WANT_ALG_SHA_512         1
#define PSA_WANT_ALG_HMAC            1
#define PSA_WANT_ALG_HKDF            1
#define PSA_WANT_ALG_HKDF_EXTRACT    1
#define PSA_WANT_ALG_HKDF_EXPAND     1
#define PSA_WANT_ALG_TLS12_PRF       1
#define PSA_WANT_ALG_TLS12_PSK_TO_MS 1
#define PSA_WANT_KEY_TYPE_DERIVE     1
#define PSA_WANT_KEY_TYPE_HMAC       1
#define PSA_WANT_KEY_TYPE_RAW_DATA   1
#define PSA_WANT_KEY_TYPE_PASSWORD   1

#define PSA_WANT_KEY_TYPE_AES        1
#define PSA_WANT_ALG_GCM             1
#define PSA_WANT_ALG_CCM             1
#define PSA_WANT_ALG_CCM_STAR_NO_TAG 1
#define PSA_WANT_ALG_CBC_NO_PADDING  1
#define PSA_WANT_ALG_ECB_NO_PADDING  1

#endif
